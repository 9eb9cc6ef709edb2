"""``covey service`` commands that Docker does not have: restart, stop, start, rebalance, promote.

Each waits until the services have converged, unless ``--detach`` is given.
"""

from collections.abc import Callable, Iterable
from typing import Any

import click

from cli import options, output
from cli.client import DaemonClient, path_segment
from cli.command import command, option
from cli.completion import complete
from cli.service.wait import wait_for_services
from covey.errors import CoveyError, InvalidArgumentError
from covey.service_options.rollout import STOPPED_LABEL

Json = dict[str, Any]


@command()
@options.object_arguments("services", "service")
@options.detach_option("the services")
@options.progress_option
def restart(services: tuple[str, ...], detach: bool, quiet: bool) -> int:
    """Replace the tasks of services by new ones, slot by slot under the update policy.

    It is an update that changes nothing but the tasks: parallelism, delay, order and failure action apply. A job runs again.
    """

    def send(daemon: DaemonClient, found: Json) -> None:
        spec = found["Spec"]
        if _is_stopped(spec):
            name = spec["Name"]
            raise InvalidArgumentError(f"service {name} is stopped: start it with: covey service start {name}")
        template = {**spec["TaskTemplate"], "ForceUpdate": int(spec["TaskTemplate"].get("ForceUpdate") or 0) + 1}
        _update(daemon, found, {**spec, "TaskTemplate": template})

    return _for_services(services, send, detach=detach, quiet=quiet)


@command()
@options.object_arguments("services", "service")
@options.detach_option("the services")
@options.progress_option
def stop(services: tuple[str, ...], detach: bool, quiet: bool) -> int:
    """Stop services and keep their number of replicas, with which `service start` begins again."""

    def send(daemon: DaemonClient, found: Json) -> None:
        if not _is_stopped(found["Spec"]):
            labels = {**(found["Spec"].get("Labels") or {}), STOPPED_LABEL: "true"}
            _update(daemon, found, {**found["Spec"], "Labels": labels})

    return _for_services(services, send, detach=detach, quiet=quiet)


@command()
@options.object_arguments("services", "service")
@options.detach_option("the services")
@options.progress_option
def start(services: tuple[str, ...], detach: bool, quiet: bool) -> int:
    """Start stopped services with the replicas that they had."""

    def send(daemon: DaemonClient, found: Json) -> None:
        labels = dict(found["Spec"].get("Labels") or {})
        if labels.pop(STOPPED_LABEL, ""):
            _update(daemon, found, {**found["Spec"], "Labels": labels})

    return _for_services(services, send, detach=detach, quiet=quiet)


@command()
@click.argument("services", nargs=-1, metavar="[SERVICE...]", shell_complete=complete("service"))
@option("--all", "everything", is_flag=True, help="Rebalance all replicated services")
@options.detach_option("the services")
@options.progress_option
def rebalance(services: tuple[str, ...], everything: bool, detach: bool, quiet: bool) -> int:
    """Spread the tasks of services over the nodes again, one by one under the update policy."""
    if everything == bool(services):
        raise click.UsageError("give the services to rebalance, or --all")
    daemon = options.client()
    if everything:
        services = tuple([item["Spec"]["Name"] for item in daemon.get("/services") if _can_move(item)])
    return _for_services(services, _posting("rebalance"), detach=detach, quiet=quiet)


@command()
@options.object_arguments("services", "service")
@options.detach_option("the services")
@options.progress_option
def promote(services: tuple[str, ...], detach: bool, quiet: bool) -> int:
    """Let updates that wait after their canaries go on with all other tasks."""
    return _for_services(services, _posting("promote"), detach=detach, quiet=quiet)


def _posting(action: str) -> Callable[[DaemonClient, Json], None]:
    return lambda daemon, found: daemon.post(f"/services/{found['ID']}/{action}")


def _for_services(
    services: Iterable[str], send: Callable[[DaemonClient, Json], None], *, detach: bool, quiet: bool
) -> int:
    """Sends a request for each service, prints the names of those that took it and waits for them."""
    daemon, changed, failed = options.client(), [], False
    for ref in services:
        try:
            found = daemon.get(f"/services/{path_segment(ref)}")
            send(daemon, found)
        except CoveyError as error:
            failed = True
            output.print_error(error)
        else:
            changed.append(found["ID"])
            click.echo(ref)
    code = wait_for_services(daemon, changed, quiet=quiet) if changed and not detach else 0
    return code or int(failed)


def _update(daemon: DaemonClient, found: Json, spec: Json) -> None:
    query = {"version": found["Version"]["Index"], "registryAuthFrom": "spec"}
    daemon.post(f"/services/{found['ID']}/update", query, spec)


def _is_stopped(spec: Json) -> bool:
    return (spec.get("Labels") or {}).get(STOPPED_LABEL) == "true"


def _can_move(service: Json) -> bool:
    """Whether a rebalance of all services concerns the service: replicated, not stopped, not being updated."""
    state = (service.get("UpdateStatus") or {}).get("State", "")
    idle = state not in {"updating", "rollback_started"} and not (service.get("UpdateStatus") or {}).get(
        "AwaitsPromotion"
    )
    return "Replicated" in service["Spec"]["Mode"] and not _is_stopped(service["Spec"]) and idle
