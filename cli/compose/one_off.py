"""``run``: a container of a service with another command, attached to this terminal."""

import secrets
import sys
from collections.abc import Mapping
from typing import Any

import click

from cli.compose import labels
from cli.compose.container_body import ContainerRequest, container_body
from cli.compose.executor import Executor
from cli.compose.files import copy_files, seccomp_contents
from cli.compose.images import prepare_images
from cli.compose.lifecycle import remove_orphan_containers
from cli.compose.model import Application, HostState
from cli.compose.mounts import copied_files
from cli.compose.one_off_service import one_off_application
from cli.compose.plan import UpOptions, plan_up
from cli.compose.progress import Progress, Style
from cli.compose.session import Session
from cli.compose.state import read_containers
from cli.container.session import Attachment, run_session
from cli.container.start_errors import refused
from cli.parse.environment import environment_variables


def run_one_off(session: Session, service: str, command: tuple[str, ...], flags: Mapping[str, Any]) -> int:
    """Bring up what the service needs, run the command, and return its exit code."""
    with refused():
        terminal = not flags["no_tty"] and not flags["detach"] and sys.stdin.isatty() and sys.stdout.isatty()
        if flags["quiet"]:
            session.progress = Progress(Style.QUIET)
            flags = {**flags, "quiet_build": True}
        session.with_services((service,))
        variables = dict(
            pair.split("=", 1) if "=" in pair else (pair, None)
            for pair in [*environment_variables((), flags["env_files"]), *flags["env"]]
        )
        application = one_off_application(
            session.application, service, command, {**flags, "variables": variables}, tty=terminal
        )
        session.warn_ignored(session.application)
        state = _dependencies(session, application, service, flags)
        if flags["remove_orphans"]:
            remove_orphan_containers(session)
        slug = secrets.token_hex(6)
        name = flags["name"] or f"{application.name}-{service}-run-{slug}"
        if session.dry_run:
            session.progress.report(f"Container {name}", "Created")
            return 0
        identifier, body = _create(session, application, service, name, slug, state, flags)
        path = f"/containers/{identifier}"
        if flags["detach"]:
            session.daemon.call("POST", f"{path}/start", patient=True)
            click.echo(name)
            return 0
        attachment = Attachment(
            tty=terminal,
            stdin=bool(body["OpenStdin"]),
            stdout=True,
            stderr=True,
            condition="removed" if flags["remove"] else "next-exit",
        )
        return run_session(
            session.daemon, identifier, attachment, lambda: session.daemon.call("POST", f"{path}/start", patient=True)
        ).code


def _dependencies(session: Session, application: Application, service: str, flags: Mapping[str, Any]) -> HostState:
    """Bring up the services that the service needs, and its networks, volumes and image."""
    state = session.state(application)
    needed = application.services[service].get("depends_on") or {}
    others = tuple(name for name in needed if name in application.services)
    names = [service] if flags["no_deps"] else [service, *others]
    if prepare_images(session, application, names, state.images, flags):
        state = session.state(application)
    options = UpOptions(services=(service,), dependencies=not flags["no_deps"], scale={service: 0})
    kept = HostState(
        tuple(item for item in state.containers if item.service != service), state.networks, state.volumes, state.images
    )
    plan = plan_up(application, kept, options)
    executor = Executor(session.daemon, application, kept, session.progress, dry_run=session.dry_run)
    session.run(plan, executor)
    if not flags["no_deps"]:
        waits = [(name, item["condition"]) for name, item in needed.items() if name in application.services]
        executor.await_conditions([(name, condition) for name, condition in waits if condition != "service_started"])
    return state


def _create(  # noqa: PLR0917 - the parts of one container
    session: Session,
    application: Application,
    service: str,
    name: str,
    slug: str,
    state: HostState,
    flags: Mapping[str, Any],
) -> tuple[str, dict[str, Any]]:
    values = application.services[service]
    running = read_containers(session.daemon, application.name, one_off=False)
    image = labels.image_name(application.name, values, service)
    request = ContainerRequest(
        service,
        1,
        name,
        image=state.images.get(image, ""),
        containers={item.service: item.id for item in reversed(running)},
        names={item.service: (item.name,) for item in reversed(running)},
        one_off=True,
        slug=slug,
        aliases=flags["use_aliases"],
        seccomp=seccomp_contents(application, values),
    )
    body = container_body(application, request)
    body["StdinOnce"] = bool(body["OpenStdin"])
    body["AttachStdin"] = bool(body["OpenStdin"]) and not flags["detach"]
    body["HostConfig"]["AutoRemove"] = bool(flags["remove"])
    query = {"name": name, "platform": values.get("platform", "")}
    identifier = str(session.daemon.call("POST", "/containers/create", query, body, patient=True)["Id"])
    copy_files(session.daemon, identifier, copied_files(application, values))
    return identifier, body
