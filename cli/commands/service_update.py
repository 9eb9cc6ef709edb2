"""``covey service`` commands that change services: create, update, scale, rollback.

Each waits until the service has converged, unless ``--detach`` is given.
"""

from typing import Any

import click

from cli import options, output
from cli.client import DaemonClient, path_segment
from cli.command import command
from cli.commands.service_explain import print_dry_run
from cli.completion import complete
from cli.parse.environment import environment_variables
from cli.parse.service_flags import ObjectIds
from cli.registry.service_images import ALWAYS, NEVER, ServiceImages
from cli.service.options import create_options, update_options
from cli.service.spec import new_spec, updated_spec
from cli.service.wait import wait_for_services
from covey.errors import CoveyError, InvalidArgumentError


@command(context_settings={"allow_interspersed_args": False})
@options.object_argument("image", "image")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARG...]")
@create_options
@options.dry_run_option
@options.timeout_option()
def create(
    *,
    image: str,
    args: tuple[str, ...],
    env_file: tuple[str, ...],
    detach: bool,
    quiet: bool,
    dry_run: bool,
    timeout_ns: int | None,
    **flags: Any,
) -> int:
    """Create a new service."""
    options.require_wait(timeout_ns, detach=detach)
    daemon = options.client()
    images = _images(daemon, flags)
    flags["env"] = environment_variables(flags["env"], env_file)
    spec = images.prepared(new_spec(image, args, flags, _object_ids(daemon, flags)))
    if dry_run:
        return print_dry_run(daemon, "/services/create", {}, spec, images.headers(spec))
    answer = daemon.call("POST", "/services/create", body=spec, headers=images.headers(spec))
    for warning in answer.get("Warnings") or []:
        click.echo(warning, err=True)
    click.echo(answer["ID"])
    return 0 if detach else wait_for_services(daemon, [answer["ID"]], quiet=quiet, timeout_ns=timeout_ns)


@command()
@options.object_argument("service", "service")
@update_options
@options.dry_run_option
@options.timeout_option()
def update(
    *,
    service: str,
    detach: bool,
    quiet: bool,
    rollback: bool,
    dry_run: bool,
    timeout_ns: int | None,
    **flags: Any,
) -> int:
    """Update a service."""
    options.require_wait(timeout_ns, detach=detach)
    daemon = options.client()
    if rollback:
        return _roll_back(daemon, service, detach=detach, quiet=quiet, dry_run=dry_run, timeout_ns=timeout_ns)
    images = _images(daemon, flags)
    flags["env_add"] = environment_variables(flags["env_add"])
    found = daemon.get(f"/services/{path_segment(service)}")
    spec = updated_spec(found["Spec"], flags, _object_ids(daemon, flags))
    if flags.get("image"):
        spec = images.prepared(spec)
    if dry_run:
        return _try_update(daemon, found, spec, headers=images.headers(spec))
    _update_service(daemon, found, spec, headers=images.headers(spec))
    click.echo(service)
    return 0 if detach else wait_for_services(daemon, [found["ID"]], quiet=quiet, timeout_ns=timeout_ns)


@command()
@click.argument(
    "scales",
    nargs=-1,
    required=True,
    metavar="SERVICE=REPLICAS [SERVICE=REPLICAS...]",
    shell_complete=complete("service", suffix="="),
)
@options.detach_option("the services")
@options.progress_option
@options.dry_run_option
@options.timeout_option("the services to converge")
def scale(*, scales: tuple[str, ...], detach: bool, quiet: bool, dry_run: bool, timeout_ns: int | None) -> int:
    """Scale one or multiple replicated services; a job that is scaled runs again."""
    options.require_wait(timeout_ns, detach=detach)
    daemon = options.client()
    pairs = [_parse_scale(text) for text in scales]
    failed, changed = False, []
    for name, replicas in pairs:
        try:
            found = daemon.get(f"/services/{path_segment(name)}")
            spec = {**found["Spec"], "Mode": _scaled(name, found["Spec"]["Mode"], replicas)}
            if dry_run:
                failed |= bool(_try_update(daemon, found, spec))
                continue
            _update_service(daemon, found, spec)
        except CoveyError as error:
            failed = True
            output.print_error(error)
        else:
            changed.append(found["ID"])
            click.echo(f"{name} scaled to {replicas}")
    waits = bool(changed) and not detach
    code = wait_for_services(daemon, changed, quiet=quiet, timeout_ns=timeout_ns) if waits else 0
    return code or int(failed)


def _scaled(name: str, mode: dict[str, Any], count: int) -> dict[str, Any]:
    """The mode with another number of replicas, or of completions of a job."""
    if "Replicated" in mode:
        return {"Replicated": {"Replicas": count}}
    if "ReplicatedJob" in mode:
        return {"ReplicatedJob": {**mode["ReplicatedJob"], "TotalCompletions": count}}
    raise InvalidArgumentError(f"{name}: scale can only be used with replicated or replicated-job mode")


@command()
@options.object_argument("service", "service")
@options.detach_option()
@options.progress_option
@options.dry_run_option
@options.timeout_option()
def rollback(*, service: str, detach: bool, quiet: bool, dry_run: bool, timeout_ns: int | None) -> int:
    """Revert changes to a service's configuration."""
    options.require_wait(timeout_ns, detach=detach)
    return _roll_back(options.client(), service, detach=detach, quiet=quiet, dry_run=dry_run, timeout_ns=timeout_ns)


def _roll_back(
    daemon: DaemonClient, service: str, *, detach: bool, quiet: bool, dry_run: bool, timeout_ns: int | None
) -> int:
    found = daemon.get(f"/services/{path_segment(service)}")
    if dry_run:
        return _try_update(daemon, found, found["Spec"], rollback="previous")
    _update_service(daemon, found, found["Spec"], rollback="previous")
    click.echo(service)
    if detach:
        return 0
    return wait_for_services(daemon, [found["ID"]], quiet=quiet, rollback=True, timeout_ns=timeout_ns)


def _update_service(
    daemon: DaemonClient,
    found: dict[str, Any],
    spec: dict[str, Any],
    rollback: str = "",
    *,
    headers: dict[str, str] | None = None,
) -> None:
    """Update a service. Without credentials in the headers it keeps those that it has."""
    path, query = _update_target(found, rollback, headers)
    answer = daemon.call("POST", path, query, spec, headers=headers) or {}
    for warning in answer.get("Warnings") or []:
        click.echo(warning, err=True)


def _try_update(
    daemon: DaemonClient,
    found: dict[str, Any],
    spec: dict[str, Any],
    rollback: str = "",
    *,
    headers: dict[str, str] | None = None,
) -> int:
    """Print what an update would lead to. Returns 1 if tasks would wait, else 0."""
    path, query = _update_target(found, rollback, headers)
    return print_dry_run(daemon, path, query, spec, headers)


def _update_target(found: dict[str, Any], rollback: str, headers: dict[str, str] | None) -> tuple[str, dict[str, Any]]:
    """Path and query of an update."""
    kept = "" if headers else "previous-spec" if rollback else "spec"
    query = {"version": found["Version"]["Index"], "rollback": rollback, "registryAuthFrom": kept}
    return f"/services/{found['ID']}/update", query


def _object_ids(daemon: DaemonClient, flags: dict[str, Any]) -> ObjectIds:
    """The ids of the objects that the flags name. Lists only the kinds that they name."""
    found: dict[str, dict[str, str]] = {}
    for kind in ("secret", "config"):
        if flags.get(kind) or flags.get(f"{kind}_add"):
            found[f"{kind}s"] = {item["Spec"]["Name"]: item["ID"] for item in daemon.get(f"/{kind}s")}
    if any(flags.get(name) for name in ("network", "network_add", "network_rm")):
        found["networks"] = {
            item["Name"]: item["Id"] for item in daemon.get("/networks") if item.get("Scope") == "swarm"
        }
    return ObjectIds(**found)


def _parse_scale(text: str) -> tuple[str, int]:
    name, separator, count = text.rpartition("=")
    if not separator or not name:
        raise click.UsageError(f"invalid scale specifier {text!r}: write SERVICE=REPLICAS")
    if not count.isdecimal():
        raise click.UsageError(f"{name}: invalid replicas value {count!r}")
    return name, int(count)


def _images(daemon: DaemonClient, flags: dict[str, Any]) -> ServiceImages:
    resolve = NEVER if flags.pop("no_resolve_image", False) else ALWAYS
    return ServiceImages(daemon, send_credentials=bool(flags.pop("with_registry_auth", False)), resolve=resolve)
