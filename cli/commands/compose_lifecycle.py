"""``covey compose`` commands on the state of containers: start, stop, restart, kill, rm, pause, unpause, wait, scale."""

from typing import Any

import click

from cli.command import option
from cli.compose.command import compose_command
from cli.compose.options import services_argument, timeout_option
from cli.compose.session import Session
from covey.errors import InvalidArgumentError


@compose_command()
@services_argument
@option("--wait", is_flag=True, help="Wait for services to be running|healthy. Implies detached mode")
@option("--wait-timeout", type=int, default=None, help="Maximum seconds to wait for the project to be running|healthy")
def start(services: tuple[str, ...], wait: bool, wait_timeout: int | None) -> None:
    """Start services."""
    from cli.compose.lifecycle import run_action
    from cli.compose.steps import Action

    run_action(Session.current(), Action.START, services, wait=wait, wait_timeout=wait_timeout)


@compose_command()
@services_argument
@timeout_option
def stop(services: tuple[str, ...], timeout: int | None) -> None:
    """Stop services."""
    from cli.compose.lifecycle import run_action
    from cli.compose.steps import Action

    run_action(Session.current(), Action.STOP, services, timeout=timeout)


@compose_command()
@services_argument
@option("--no-deps", is_flag=True, help="Don't restart dependent services")
@timeout_option
def restart(services: tuple[str, ...], no_deps: bool, timeout: int | None) -> None:
    """Restart service containers."""
    from cli.compose.lifecycle import dependents_to_restart, run_action
    from cli.compose.steps import Action

    session = Session.current()
    if services and not no_deps:
        services = dependents_to_restart(session.known, services)
    run_action(session, Action.RESTART, services, timeout=timeout)


@compose_command()
@services_argument
@option("-s", "--signal", default="SIGKILL", help="SIGNAL to send to the container")
@option("--remove-orphans", is_flag=True, help="Remove containers for services not in the Compose file")
def kill(services: tuple[str, ...], signal: str, remove_orphans: bool) -> None:
    """Force stop service containers."""
    from cli.compose.lifecycle import for_containers, remove_orphan_containers

    session = Session.current()
    found = [item for item in session.containers(services) if item.running]
    for_containers(session, found, "kill", {"signal": signal}, ("Killing", "Killed"))
    if remove_orphans:
        remove_orphan_containers(session)


@compose_command()
@services_argument
def pause(services: tuple[str, ...]) -> None:
    """Pause services."""
    from cli.compose.lifecycle import for_containers

    session = Session.current()
    found = [item for item in session.containers(services) if item.state == "running"]
    for_containers(session, found, "pause", {}, ("Pausing", "Paused"))


@compose_command()
@services_argument
def unpause(services: tuple[str, ...]) -> None:
    """Unpause services."""
    from cli.compose.lifecycle import for_containers

    session = Session.current()
    found = [item for item in session.containers(services) if item.state == "paused"]
    for_containers(session, found, "unpause", {}, ("Unpausing", "Unpaused"))


@compose_command()
@services_argument
@option("-f", "--force", is_flag=True, help="Don't ask to confirm removal")
@option("-s", "--stop", "stopped", is_flag=True, help="Stop the containers, if required, before removing")
@option("-v", "--volumes", is_flag=True, help="Remove any anonymous volumes attached to containers")
def rm(services: tuple[str, ...], force: bool, stopped: bool, volumes: bool) -> None:
    """Remove stopped service containers."""
    from cli.compose.lifecycle import remove_containers

    session = Session.current()
    found = [item for item in session.containers(services, one_off=True) if stopped or not item.running]
    if not found:
        session.progress.notice("No stopped containers")
        return
    if not force and not session.dry_run:
        names = ", ".join(item.name for item in found)
        click.confirm(f"Going to remove {names}\nAre you sure?", abort=True)
    remove_containers(session, found, volumes=volumes)


@compose_command()
@click.argument("services", nargs=-1, required=True, metavar="SERVICE [SERVICE...]")
@option("--down-project", is_flag=True, help="Drops project when the first container stops")
def wait(services: tuple[str, ...], down_project: bool) -> int:
    """Block until containers of all (or specified) services stop."""
    from cli.compose.lifecycle import down_whole_project, wait_for_exit

    session = Session.current()
    code = wait_for_exit(session, services, first=down_project)
    if down_project:
        down_whole_project(session)
    return code


@compose_command()
@click.argument("pairs", nargs=-1, required=True, metavar="[SERVICE=REPLICAS...]")
@option("--no-deps", is_flag=True, help="Don't start linked services")
def scale(pairs: tuple[str, ...], no_deps: bool) -> int:
    """Scale services."""
    from cli.compose.up import bring_up, parse_scale

    wanted = parse_scale(pairs)
    session = Session.current()
    for name in wanted:
        if name not in session.with_services(tuple(wanted)).services:
            raise InvalidArgumentError(f"no such service: {name}")
    flags: dict[str, Any] = {
        "force_recreate": False,
        "no_recreate": True,
        "always_recreate_deps": False,
        "remove_orphans": False,
        "scales": pairs,
        "no_deps": no_deps,
        "detach": True,
    }
    return bring_up(session, tuple(wanted), flags)
