"""``covey inspect``: looks a name or id up in each kind of object in turn."""

from typing import Any

import click

from cli import options, output
from cli.client import DaemonClient, DaemonError, path_segment
from cli.command import command, option

KINDS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
    "node": "/nodes/{}",
    "service": "/services/{}",
    "task": "/tasks/{}",
    "secret": "/secrets/{}",
    "config": "/configs/{}",
}
TRY_NEXT_KIND = (404, 501, 503)  # missing, not implemented, or no manager: another kind may have it


@command()
@options.object_arguments("names", "container", "image", "network", "node", "service", "volume", metavar="NAME|ID")
@options.inspect_format_option
@option("-s", "--size", is_flag=True, help="Display total file sizes if the type is container")
@option("--type", "kind", default="", type=click.Choice(["", *KINDS]), help="Only inspect objects of the given type")
def inspect(names: tuple[str, ...], form: str, size: bool, kind: str) -> int:
    """Return low-level information on objects."""
    daemon = options.client()
    kinds = [kind] if kind else list(KINDS)
    return output.print_objects(names, lambda ref: _find(daemon, ref, kinds, size=size), form)


def _find(daemon: DaemonClient, ref: str, kinds: list[str], *, size: bool) -> Any:
    for kind in kinds:
        try:
            return daemon.get(KINDS[kind].format(path_segment(ref)), {"size": size} if kind == "container" else None)
        except DaemonError as error:
            if error.status not in TRY_NEXT_KIND:
                raise
    raise DaemonError(404, f"No such {kinds[0] if len(kinds) == 1 else 'object'}: {ref}")
