"""``covey system prune``: removes what is not used, kind by kind."""

from typing import Any

import click

from cli import options
from cli.client import DaemonClient
from cli.command import command, option


@command()
@option("-a", "--all", "all_", is_flag=True, help="Remove all unused images not just dangling ones")
@options.prune_options
@option("--volumes", is_flag=True, help="Prune anonymous volumes")
def prune(all_: bool, force: bool, filters: tuple[str, ...], volumes: bool) -> None:
    """Remove unused data."""
    from cli.format.units import human_size

    conditions = options.parse_filters(filters)
    if volumes and "until" in conditions:
        raise click.UsageError('the "until" filter is not supported with --volumes')
    if not force:
        click.echo(warning(conditions, every_image=all_, volumes=volumes))
        click.confirm("Are you sure you want to continue?", abort=True)
    daemon = options.client()
    reclaimed = _prune(daemon, "containers", "ContainersDeleted", conditions)
    reclaimed += _prune(daemon, "networks", "NetworksDeleted", conditions)
    if volumes:
        reclaimed += _prune(daemon, "volumes", "VolumesDeleted", conditions)
    dangling = {**conditions, "dangling": ["false" if all_ else "true"]}
    reclaimed += _prune(daemon, "images", "ImagesDeleted", dangling)
    click.echo(f"Total reclaimed space: {human_size(reclaimed)}")


def warning(conditions: dict[str, list[str]], *, every_image: bool, volumes: bool) -> str:
    """What will be removed, for the question before it."""
    images = "all images without at least one container associated to them" if every_image else "all dangling images"
    kinds = [
        "all stopped containers",
        "all networks not used by at least one container",
        *(["all anonymous volumes not used by at least one container"] if volumes else []),
        images,
    ]
    lines = ["WARNING! This will remove:", *(f"  - {kind}" for kind in kinds)]
    if conditions:
        lines += ["", "  Items to be pruned will be filtered with:"]
        lines += [f"  - {key}={value}" for key, values in conditions.items() for value in values]
    return "\n".join([*lines, ""])


def _prune(daemon: DaemonClient, kind: str, field: str, conditions: dict[str, list[str]]) -> int:
    """Prune one kind, print what was removed, and return the bytes that were freed."""
    done: dict[str, Any] = daemon.call("POST", f"/{kind}/prune", {"filters": conditions}, patient=True) or {}
    names = []
    for item in done.get(field) or []:
        if not isinstance(item, dict):
            names.append(str(item))
        elif item.get("Untagged"):
            names.append(f"untagged: {item['Untagged']}")
        else:
            names.append(f"deleted: {item['Deleted']}")
    if names:
        click.echo(f"Deleted {kind.capitalize()}:\n" + "\n".join(names) + "\n")
    return int(done.get("SpaceReclaimed") or 0)
