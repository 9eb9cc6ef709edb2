"""``covey compose`` commands about images and projects: build, pull, push, images, ls, volumes."""

import json
import os
from collections.abc import Mapping
from typing import Any

import click

from cli import options, output
from cli.client import path_segment
from cli.command import option
from cli.compose import labels
from cli.compose.command import compose_command
from cli.compose.options import refused_option, services_argument
from cli.compose.session import Session
from cli.compose.wide_table import wide_table
from cli.parse.param_types import BYTES
from compose.project.json_output import go_json_text
from covey.errors import CoveyError, NotFoundError

_BUILDKIT = "it needs BuildKit, which this host does not have; leave it out"
_ONE_BUILDER = "this host has one builder; leave it out"
_VOLUMES = "{{.Driver}}\t{{.Name}}"
_VOLUME_HEADERS = {"Driver": "DRIVER", "Name": "VOLUME NAME"}


_list_format = option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", help="Format the output"
)


def _named(session: Session, services: tuple[str, ...]) -> list[str]:
    """The services of a command: those that are named, or all.

    Raises:
        NotFoundError: an unknown service.
    """
    application = session.with_services(services)
    for name in services:
        if name not in application.services:
            raise NotFoundError(f"no such service: {name}")
    return list(services or application.services)


@compose_command()
@services_argument
@option("--build-arg", "build_args", multiple=True, metavar="stringArray", help="Set build-time variables for services")
@refused_option("--builder", reason=_ONE_BUILDER, default="", help="Set builder to use")
@refused_option("--check", reason=_BUILDKIT, is_flag=True, help="Check build configuration")
@option("-m", "--memory", type=BYTES, default="0", help="Set memory limit for the build container")
@option("--no-cache", is_flag=True, help="Do not use cache when building the image")
@refused_option("--print", reason=_BUILDKIT, is_flag=True, help="Print equivalent bake file")
@refused_option("--provenance", reason=_BUILDKIT, default="", help="Add a provenance attestation")
@option("--pull", is_flag=True, help="Always attempt to pull a newer version of the image")
@option("--push", is_flag=True, help="Push service images")
@option("-q", "--quiet", is_flag=True, help="Suppress the build output")
@refused_option("--sbom", reason=_BUILDKIT, default="", help="Add a SBOM attestation")
@refused_option("--ssh", reason=_BUILDKIT, default="", help="Set SSH authentications used when building service images")
@option("--with-dependencies", is_flag=True, help="Also build dependencies (transitively)")
def build(
    *, services: tuple[str, ...], build_args: tuple[str, ...], push: bool, with_dependencies: bool, **flags: Any
) -> None:
    """Build or rebuild services."""
    from cli.build.parameters import build_arguments
    from cli.compose.builds import build_images
    from cli.compose.images import push_image

    session = Session.current()
    names = _named(session, services)
    if with_dependencies:
        names = _with_dependencies(session.application.services, names)
    names = [name for name in names if session.application.services[name].get("build")]
    build_images(session, session.application, names, {**flags, "build_args": build_arguments(build_args, os.environ)})
    for name in names if push else ():
        push_image(session, labels.image_name(session.application.name, session.application.services[name], name))


@compose_command()
@services_argument
@option("--ignore-buildable", is_flag=True, help="Ignore images that can be built")
@option("--ignore-pull-failures", is_flag=True, help="Pull what it can and ignores images with pull failures")
@option("--include-deps", is_flag=True, help="Also pull services declared as dependencies")
@option("--policy", type=click.Choice(["missing", "always"]), default="always", help="Apply pull policy")
@option("-q", "--quiet", is_flag=True, help="Pull without printing progress information")
def pull(
    *,
    services: tuple[str, ...],
    ignore_buildable: bool,
    ignore_pull_failures: bool,
    include_deps: bool,
    policy: str,
    quiet: bool,
) -> None:
    """Pull service images."""
    from cli.compose.images import PULL, ImageStep, pull_all

    session = Session.current()
    names = _named(session, services)
    application = session.application
    if include_deps:
        names = _with_dependencies(application.services, names)
    present = session.state(application).images if policy == "missing" else {}
    steps: dict[str, ImageStep] = {}
    for name in names:
        service = application.services[name]
        image = labels.image_name(application.name, service, name)
        buildable = bool(service.get("build")) and (ignore_buildable or not service.get("image"))
        if buildable or image in present:
            session.progress.report(f"Image {image}", "Skipped")
        else:
            steps.setdefault(image, ImageStep(name, image, PULL))
    pull_all(session, application, steps.values(), ignore=ignore_pull_failures, quiet=quiet)


def _with_dependencies(services: Mapping[str, Any], names: list[str]) -> list[str]:
    """The services and all that they depend on."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        if name not in found and name in services:
            found[name] = None
            waiting += services[name].get("depends_on") or {}
    return list(found)


@compose_command()
@services_argument
@option("--ignore-push-failures", is_flag=True, help="Push what it can and ignores images with push failures")
@option("--include-deps", is_flag=True, help="Also push images of services declared as dependencies")
@option("-q", "--quiet", is_flag=True, help="Push without printing progress information")
def push(*, services: tuple[str, ...], ignore_push_failures: bool, include_deps: bool, quiet: bool) -> None:
    """Push service images."""
    from cli.compose.images import push_image
    from cli.compose.progress import Progress, Style

    session = Session.current()
    if quiet:
        session.progress = Progress(Style.QUIET)
    names = _named(session, services)
    application = session.application
    for name in _with_dependencies(application.services, names) if include_deps else names:
        service = application.services[name]
        if not service.get("build") or not service.get("image"):
            session.progress.report(name, "Skipped")
            continue
        try:
            push_image(session, labels.image_name(application.name, service, name))
        except CoveyError:
            if not ignore_push_failures:
                raise


@compose_command()
@services_argument
@_list_format
@options.quiet_option("IDs")
def images(*, services: tuple[str, ...], form: str, quiet: bool) -> None:
    """List images used by the created containers."""
    from cli.compose.image_rows import image_lines, image_row

    session = Session.current()
    rows = []
    for container in session.containers(services, one_off=True):
        inspected = session.daemon.get(f"/containers/{container.id}/json")
        image = session.daemon.get(f"/images/{path_segment(inspected['Image'])}/json")
        rows.append(image_row(container.name, str(inspected["Config"]["Image"]), image))
    if quiet:
        click.echo(
            "".join(f"{text}\n" for text in dict.fromkeys(row["ID"].partition(":")[2] for row in rows)), nl=False
        )
    elif form == "json":
        _print_json(rows)
    else:
        click.echo(wide_table(image_lines(rows, output.now_ns())), nl=False)


@compose_command()
@option("-a", "--all", "all_", is_flag=True, help="Show all stopped Compose projects")
@_list_format
@option("--filter", "filters", multiple=True, metavar="filter", help="Filter output based on conditions provided")
@options.quiet_option("project names")
def ls(*, all_: bool, form: str, filters: tuple[str, ...], quiet: bool) -> None:
    """List running compose projects."""
    names = options.parse_filters(filters).get("name", [])
    query = {"all": all_, "filters": {"label": [labels.PROJECT]}}
    found: dict[str, list[Mapping[str, Any]]] = {}
    for item in Session.current().daemon.get("/containers/json", query):
        if item["Labels"].get(labels.ONE_OFF) != "True":
            found.setdefault(item["Labels"][labels.PROJECT], []).append(item)
    rows = [
        {"Name": name, "Status": _states(items), "ConfigFiles": items[0]["Labels"].get(labels.CONFIG_FILES, "")}
        for name, items in sorted(found.items())
        if not names or name in names
    ]
    if quiet:
        click.echo("".join(f"{row['Name']}\n" for row in rows), nl=False)
        return
    if form == "json":
        _print_json(rows)
    else:
        lines = [tuple(row.values()) for row in rows]
        click.echo(wide_table([("NAME", "STATUS", "CONFIG FILES"), *lines]), nl=False)


def _print_json(rows: list[dict[str, Any]]) -> None:
    """Rows as one list, as Docker Compose prints them."""
    click.echo(go_json_text(json.dumps(rows, separators=(",", ":"), ensure_ascii=False)))


def _states(items: list[Mapping[str, Any]]) -> str:
    """``exited(1), running(2)``."""
    states = [str(item["State"]) for item in items]
    return ", ".join(f"{state}({states.count(state)})" for state in sorted(set(states)))


@compose_command()
@services_argument
@options.format_option
@options.quiet_option("volume names")
def volumes(*, services: tuple[str, ...], form: str, quiet: bool) -> None:
    """List volumes."""
    session = Session.current()
    application = session.known
    used = {
        item["source"]
        for name in services
        for item in (application.services.get(name) or {}).get("volumes") or ()
        if item["type"] == "volume" and item.get("source")
    }
    found = session.daemon.get("/volumes", {"filters": labels.project_filter(application.name)})["Volumes"] or []
    rows = [
        {"Driver": item["Driver"], "Name": item["Name"]}
        for item in found
        if not services or (item.get("Labels") or {}).get(labels.VOLUME) in used
    ]
    if quiet:
        click.echo("".join(f"{row['Name']}\n" for row in rows), nl=False)
        return
    output.print_rows(rows, _VOLUME_HEADERS, _VOLUMES, form)
