"""``covey volume``."""

import click

from cli import options, output
from cli.client import path_segment
from cli.format.sorting import natural_sort_key
from cli.parse.key_values import parse_key_values
from cli.rows import network as rows


@click.command()
@options.format_option
@options.filter_option
@options.quiet_option
def ls(form: str, filters: tuple[str, ...], quiet: bool) -> None:
    """List volumes."""
    found = options.client().get("/volumes", {"filters": options.parse_filters(filters)})
    listed = [
        rows.volume(item)
        for item in sorted(found.get("Volumes") or [], key=lambda item: natural_sort_key(item["Name"]))
    ]
    output.print_rows(listed, rows.VOLUME_HEADERS, rows.VOLUME_TABLE, form, quiet=quiet, key="Name")


@click.command()
@click.argument("name", required=False, default="")
@click.option("-d", "--driver", default="local", show_default=True, help="The volume's driver.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Labels.")
@click.option("-o", "--opt", multiple=True, metavar="KEY=VALUE", help="Options of the driver.")
def create(name: str, driver: str, labels: tuple[str, ...], opt: tuple[str, ...]) -> None:
    """Create a volume."""
    body = {"Name": name, "Driver": driver, "Labels": parse_key_values(labels), "DriverOpts": parse_key_values(opt)}
    click.echo(options.client().post("/volumes/create", body=body)["Name"])


@click.command()
@click.argument("volumes", nargs=-1, required=True, metavar="VOLUME...")
@options.inspect_format_option
def inspect(volumes: tuple[str, ...], form: str) -> int:
    """Show volumes in detail."""
    daemon = options.client()
    return output.print_objects(volumes, lambda ref: daemon.get(f"/volumes/{path_segment(ref)}"), form)


@click.command()
@click.argument("volumes", nargs=-1, required=True, metavar="VOLUME...")
@click.option("-f", "--force", is_flag=True, help="Do not fail for a volume that is not there.")
def rm(volumes: tuple[str, ...], force: bool) -> int:
    """Remove volumes."""
    daemon = options.client()
    return output.for_each(volumes, lambda ref: daemon.delete(f"/volumes/{path_segment(ref)}", {"force": force}))


@click.command()
@click.option("-a", "--all", "all_", is_flag=True, help="Also volumes that have a name.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "filters", multiple=True, help="Filter what is removed: KEY=VALUE.")
def prune(all_: bool, force: bool, filters: tuple[str, ...]) -> None:
    """Remove volumes that nothing uses."""
    from cli.format.units import human_size

    what = "all volumes" if all_ else "all anonymous volumes"
    if not force:
        click.confirm(f"This will remove {what} that no container uses. Continue?", abort=True)
    wanted = options.parse_filters(filters)
    if all_:
        wanted["all"] = ["true"]
    done = options.client().post("/volumes/prune", {"filters": wanted})
    if done.get("VolumesDeleted"):
        click.echo("Deleted Volumes:\n" + "\n".join(done["VolumesDeleted"]) + "\n")
    click.echo(f"Total reclaimed space: {human_size(done.get('SpaceReclaimed', 0))}")
