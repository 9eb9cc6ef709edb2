"""``covey container`` commands that change containers: stop, restart, kill, pause, unpause, wait, rm, rename, update, prune."""

from collections.abc import Mapping
from typing import Any

import click

from cli import options, output
from cli.client import path_segment
from cli.command import command, option
from cli.container.options import container_options

_CONTAINERS = options.object_arguments("containers", "container")
_RUNNING = options.object_arguments("containers", "running container")
_SIGNAL = option("-s", "--signal", default="", help="Signal to send to the container")
_TIMEOUT = option("-t", "--timeout", "--time", "time", type=int, help="Seconds to wait before killing the container")


def _post_each(
    containers: tuple[str, ...], verb: str, query: Mapping[str, Any] | None = None, *, parallel: bool = True
) -> int:
    daemon = options.client()
    return output.for_each(
        containers,
        lambda ref: daemon.call("POST", f"/containers/{path_segment(ref)}/{verb}", query, patient=True),
        parallel=parallel,
    )


def _stop_query(time: int | None, signal: str) -> dict[str, Any]:
    return {"t": None if time is None else str(time), "signal": signal}


@command()
@_RUNNING
@_SIGNAL
@_TIMEOUT
def stop(containers: tuple[str, ...], signal: str, time: int | None) -> int:
    """Stop one or more running containers."""
    return _post_each(containers, "stop", _stop_query(time, signal))


@command()
@_CONTAINERS
@_SIGNAL
@_TIMEOUT
def restart(containers: tuple[str, ...], signal: str, time: int | None) -> int:
    """Restart one or more containers."""
    return _post_each(containers, "restart", _stop_query(time, signal), parallel=False)


@command()
@_RUNNING
@option("-s", "--signal", default="", default_text='"KILL"', help="Signal to send to the container")
def kill(containers: tuple[str, ...], signal: str) -> int:
    """Kill one or more running containers."""
    return _post_each(containers, "kill", {"signal": signal})


@command()
@_RUNNING
def pause(containers: tuple[str, ...]) -> int:
    """Pause all processes within one or more containers."""
    return _post_each(containers, "pause")


@command()
@_RUNNING
def unpause(containers: tuple[str, ...]) -> int:
    """Unpause all processes within one or more containers."""
    return _post_each(containers, "unpause")


@command()
@_CONTAINERS
def wait(containers: tuple[str, ...]) -> int:
    """Block until one or more containers stop, then print their exit codes."""
    daemon = options.client()

    def code(ref: str) -> str:
        return "\n".join(
            str(item["StatusCode"]) for item in daemon.lines("POST", f"/containers/{path_segment(ref)}/wait")
        )

    return output.for_each(containers, code)


@command()
@_CONTAINERS
@option("-f", "--force", is_flag=True, help="Force the removal of a running container (uses SIGKILL)")
@option("-v", "--volumes", is_flag=True, help="Remove anonymous volumes associated with the container")
@option("-l", "--link", is_flag=True, help="Remove the specified link")
def rm(containers: tuple[str, ...], force: bool, volumes: bool, link: bool) -> int:
    """Remove one or more containers."""
    daemon = options.client()
    query = {"force": force, "v": volumes, "link": link}
    return output.for_each(
        containers,
        lambda ref: daemon.call("DELETE", f"/containers/{path_segment(ref)}", query, patient=True),
        parallel=True,
    )


@command()
@options.object_argument("container", "container")
@click.argument("name", metavar="NEW_NAME")
def rename(container: str, name: str) -> None:
    """Rename a container."""
    options.client().post(f"/containers/{path_segment(container)}/rename", {"name": name})


@command()
@_CONTAINERS
@container_options("update")
def update(containers: tuple[str, ...], **flags: Any) -> int:
    """Update configuration of one or more containers."""
    from cli.container.create_body import update_body

    daemon, body = options.client(), update_body(flags)

    def change(ref: str) -> None:
        answer = daemon.post(f"/containers/{path_segment(ref)}/update", body=body)
        for warning in (answer or {}).get("Warnings") or []:
            click.echo(f"WARNING: {warning}", err=True)

    return output.for_each(containers, change)


@command()
@options.prune_options
def prune(force: bool, filters: tuple[str, ...]) -> None:
    """Remove all stopped containers."""
    from cli.format.units import human_size

    if not force:
        click.confirm("This will remove all stopped containers. Continue?", abort=True)
    done = options.client().post("/containers/prune", {"filters": options.parse_filters(filters)})
    if done.get("ContainersDeleted"):
        click.echo("Deleted Containers:\n" + "\n".join(done["ContainersDeleted"]) + "\n")
    click.echo(f"Total reclaimed space: {human_size(done.get('SpaceReclaimed', 0))}")
