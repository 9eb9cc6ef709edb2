"""``covey volume``: creates, lists and removes the volumes of this node."""

from collections.abc import Mapping
from typing import Any

import click

from cli import options, output
from cli.client import path_segment
from cli.command import command, option
from cli.format.sorting import natural_sort_key
from cli.parse.key_values import parse_key_values
from cli.rows import network as rows
from covey.errors import UnsupportedError

# Options of volumes that a plugin provides to the whole cluster.
_CLUSTER = {
    "availability": ("string", 'Cluster Volume availability ("active", "pause", "drain")'),
    "group": ("string", "Cluster Volume group (cluster volumes)"),
    "limit-bytes": ("bytes", "Minimum size of the Cluster Volume in bytes"),
    "required-bytes": ("bytes", "Maximum size of the Cluster Volume in bytes"),
    "scope": ("string", 'Cluster Volume access scope ("single", "multi")'),
    "secret": ("map", "Cluster Volume secrets"),
    "sharing": ("string", 'Cluster Volume access sharing ("none", "readonly", "onewriter", "all")'),
    "topology-preferred": ("list", "A topology that the Cluster Volume would be preferred in"),
    "topology-required": ("list", "A topology that the Cluster Volume must be accessible from"),
    "type": ("string", 'Cluster Volume access type ("mount", "block")'),
}


def _cluster_options(function: Any) -> Any:
    for name, (kind, text) in _CLUSTER.items():
        function = option(f"--{name}", multiple=True, metavar=kind, supported=False, help=text)(function)
    return function


def refuse_cluster_options(given: Mapping[str, Any]) -> None:
    """Refuse what only cluster volumes have.

    Raises:
        UnsupportedError: one was given.
    """
    for name, value in given.items():
        if value:
            raise UnsupportedError(f"--{name.replace('_', '-')}: cluster volumes are not supported; volumes are local")


@command()
@options.format_option
@option("--cluster", is_flag=True, supported=False, help="Display only cluster volumes")
@options.filter_option
@options.quiet_option("volume names")
def ls(*, form: str, cluster: bool, filters: tuple[str, ...], quiet: bool) -> None:
    """List volumes."""
    refuse_cluster_options({"cluster": cluster})
    found = options.client().get("/volumes", {"filters": options.parse_filters(filters)})
    listed = [
        rows.volume(item)
        for item in sorted(found.get("Volumes") or [], key=lambda item: natural_sort_key(item["Name"]))
    ]
    output.print_rows(listed, rows.VOLUME_HEADERS, rows.VOLUME_TABLE, form, quiet=quiet, key="Name")


@command()
@click.argument("name", required=False, default="", metavar="[VOLUME]")
@_cluster_options
@option("-d", "--driver", default="local", help="Specify volume driver name")
@option("--label", "labels", multiple=True, help="Set metadata for a volume")
@option("-o", "--opt", multiple=True, metavar="map", help="Set driver specific options")
def create(name: str, driver: str, labels: tuple[str, ...], opt: tuple[str, ...], **cluster: Any) -> None:
    """Create a volume."""
    refuse_cluster_options(cluster)
    body = {"Name": name, "Driver": driver, "Labels": parse_key_values(labels), "DriverOpts": parse_key_values(opt)}
    click.echo(options.client().post("/volumes/create", body=body)["Name"])


@command()
@options.object_arguments("volumes", "volume")
@options.inspect_format_option
def inspect(volumes: tuple[str, ...], form: str) -> int:
    """Display detailed information on one or more volumes."""
    daemon = options.client()
    return output.print_objects(volumes, lambda ref: daemon.get(f"/volumes/{path_segment(ref)}"), form)


@command()
@options.object_arguments("volumes", "volume")
@option("-f", "--force", is_flag=True, help="Do not error if the volume does not exist")
def rm(volumes: tuple[str, ...], force: bool) -> int:
    """Remove one or more volumes."""
    daemon = options.client()
    return output.for_each(volumes, lambda ref: daemon.delete(f"/volumes/{path_segment(ref)}", {"force": force}))


@command()
@option("-a", "--all", "all_", is_flag=True, help="Remove all unused volumes, not just anonymous ones")
@options.prune_options
def prune(all_: bool, force: bool, filters: tuple[str, ...]) -> None:
    """Remove unused local volumes."""
    from cli.format.units import human_size

    what = "all volumes" if all_ else "all anonymous volumes"
    if not force:
        click.confirm(f"This will remove {what} not used by at least one container. Continue?", abort=True)
    conditions = options.parse_filters(filters)
    if all_:
        conditions["all"] = ["true"]
    done = options.client().post("/volumes/prune", {"filters": conditions})
    if done.get("VolumesDeleted"):
        click.echo("Deleted Volumes:\n" + "\n".join(done["VolumesDeleted"]) + "\n")
    click.echo(f"Total reclaimed space: {human_size(done.get('SpaceReclaimed', 0))}")
