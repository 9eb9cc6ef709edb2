"""``covey container`` as far as it changes: start, stop, kill, pause, rename, rm, wait."""

from collections.abc import Mapping
from typing import Any

import click

from cli import options, output
from cli.client import path_segment

_CONTAINERS = click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")


def _post_each(containers: tuple[str, ...], verb: str, query: Mapping[str, Any] | None = None) -> int:
    daemon = options.client()
    return output.for_each(containers, lambda ref: daemon.post(f"/containers/{path_segment(ref)}/{verb}", query))


def _stop_query(time: int | None, signal: str) -> dict[str, Any]:
    return {"t": None if time is None else str(time), "signal": signal}


@click.command()
@_CONTAINERS
def start(containers: tuple[str, ...]) -> int:
    """Start stopped containers."""
    return _post_each(containers, "start")


@click.command()
@_CONTAINERS
@click.option("-s", "--signal", default="", help="The signal to send first.")
@click.option("-t", "--timeout", "--time", "time", type=int, help="Seconds until they are killed.")
def stop(containers: tuple[str, ...], signal: str, time: int | None) -> int:
    """Stop containers."""
    return _post_each(containers, "stop", _stop_query(time, signal))


@click.command()
@_CONTAINERS
@click.option("-s", "--signal", default="", help="The signal to send first.")
@click.option("-t", "--timeout", "--time", "time", type=int, help="Seconds until they are killed.")
def restart(containers: tuple[str, ...], signal: str, time: int | None) -> int:
    """Restart containers."""
    return _post_each(containers, "restart", _stop_query(time, signal))


@click.command()
@_CONTAINERS
@click.option("-s", "--signal", default="", help="The signal to send (default KILL).")
def kill(containers: tuple[str, ...], signal: str) -> int:
    """Send a signal to containers."""
    return _post_each(containers, "kill", {"signal": signal})


@click.command()
@_CONTAINERS
def pause(containers: tuple[str, ...]) -> int:
    """Stop all processes of containers for a while."""
    return _post_each(containers, "pause")


@click.command()
@_CONTAINERS
def unpause(containers: tuple[str, ...]) -> int:
    """Let paused containers go on."""
    return _post_each(containers, "unpause")


@click.command()
@_CONTAINERS
def wait(containers: tuple[str, ...]) -> int:
    """Wait until containers stop, then print their exit codes."""
    daemon = options.client()

    def code(ref: str) -> str:
        return "\n".join(
            str(item["StatusCode"]) for item in daemon.lines("POST", f"/containers/{path_segment(ref)}/wait")
        )

    return output.for_each(containers, code)


@click.command()
@_CONTAINERS
@click.option("-f", "--force", is_flag=True, help="Kill a container that runs.")
@click.option("-v", "--volumes", is_flag=True, help="Also its anonymous volumes.")
@click.option("-l", "--link", is_flag=True, hidden=True)
def rm(containers: tuple[str, ...], force: bool, volumes: bool, link: bool) -> int:
    """Remove containers."""
    daemon = options.client()
    query = {"force": force, "v": volumes, "link": link}
    return output.for_each(containers, lambda ref: daemon.delete(f"/containers/{path_segment(ref)}", query))


@click.command()
@click.argument("container")
@click.argument("name")
def rename(container: str, name: str) -> None:
    """Rename a container."""
    options.client().post(f"/containers/{path_segment(container)}/rename", {"name": name})


@click.command()
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "filters", multiple=True, help="Filter what is removed: KEY=VALUE.")
def prune(force: bool, filters: tuple[str, ...]) -> None:
    """Remove all stopped containers."""
    from cli.format.units import human_size

    if not force:
        click.confirm("This will remove all stopped containers. Continue?", abort=True)
    done = options.client().post("/containers/prune", {"filters": options.parse_filters(filters)})
    if done.get("ContainersDeleted"):
        click.echo("Deleted Containers:\n" + "\n".join(done["ContainersDeleted"]) + "\n")
    click.echo(f"Total reclaimed space: {human_size(done.get('SpaceReclaimed', 0))}")
