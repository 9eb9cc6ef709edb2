"""``covey inspect``: an object of any kind, the first kind that has it."""

from typing import Any

import click

from cli import options, output
from cli.client import DaemonClient, DaemonError, path_segment

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
TRY_NEXT_KIND = (404, 501, 503)  # missing, not offered, or no manager: another kind may still have it


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME|ID...")
@options.inspect_format_option
@click.option("-s", "--size", is_flag=True, help="Also the sizes of containers.")
@click.option("--type", "kind", default="", type=click.Choice(["", *KINDS]), help="Only objects of this kind.")
def inspect(names: tuple[str, ...], form: str, size: bool, kind: str) -> int:
    """Show objects of any kind in detail."""
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
