"""``covey image push-to`` and ``covey image ls --cluster``: the images of all nodes of a cluster."""

from typing import Any

import click

from cli import options, output
from cli.client import path_segment
from cli.command import command
from cli.completion import complete
from covey.errors import CoveyError

MAX_PARALLEL = 8
TABLE = r"{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.Size}}\t{{.Nodes}}"
HEADERS = {"Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID", "Size": "SIZE", "Nodes": "NODES"}


@command("push-to")
@click.argument("image", shell_complete=complete("image"))
@click.argument("nodes", nargs=-1, required=True, metavar="NODE [NODE...]", shell_complete=complete("node"))
def push_to(image: str, nodes: tuple[str, ...]) -> int:
    """Copy an image of this node to other nodes.

    The nodes fetch the layers that they lack from the nodes that have them.
    """
    from concurrent.futures import ThreadPoolExecutor

    daemon = options.client()
    path = f"/covey/images/{path_segment(image)}/push-to"
    failed = 0
    with ThreadPoolExecutor(MAX_PARALLEL) as pool:
        jobs = {node: pool.submit(daemon.post, path, {"node": node}) for node in nodes}
        for node, job in jobs.items():
            try:
                job.result()
            except CoveyError as error:
                output.print_error(error)
                failed = 1
            else:
                click.echo(node)
    return failed


def list_cluster(*, form: str, quiet: bool, trunc: bool) -> None:
    """Print every image of the cluster with the nodes that have it."""
    rows = [row for image in options.client().get("/covey/images") for row in _rows(image, trunc=trunc)]
    output.print_rows(rows, HEADERS, TABLE, form, quiet=quiet)


def _rows(image: dict[str, Any], *, trunc: bool) -> list[dict[str, str]]:
    from cli.format.units import human_size

    nodes = ", ".join(sorted(node["Hostname"] or node["ID"] for node in image["Nodes"]))
    shared = {
        "ID": image["Id"].removeprefix("sha256:")[:12] if trunc else image["Id"],
        "Size": human_size(image["Size"]),
        "Nodes": nodes,
    }
    names = [tag.rpartition(":")[::2] for tag in image["RepoTags"]] or [("<none>", "<none>")]
    return [{"Repository": repository, "Tag": tag, **shared} for repository, tag in names]
