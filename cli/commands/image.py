"""``covey image``: lists, imports, loads, saves, tags and removes images."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from cli import options, output
from cli.client import path_segment
from cli.command import Decorator, command, option
from cli.commands.image_cluster import list_cluster
from cli.completion import complete
from cli.format import table
from cli.parse.platform import platform_fields
from cli.rows import image as image_rows
from cli.terminal.transfer_output import show_messages


def platform_option(text: str) -> Decorator:
    return option("--platform", default="", help=f'{text}. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")')


@command()
@click.argument("reference", required=False, default="", metavar="[REPOSITORY[:TAG]]", shell_complete=complete("image"))
@option("-a", "--all", "all_", is_flag=True, help="Show all images (default hides intermediate images)")
@option("--digests", is_flag=True, help="Show digests")
@option("--cluster", is_flag=True, help="Show the images of all nodes of the cluster")
@options.format_option
@options.filter_option
@options.quiet_option("image IDs")
@options.trunc_option
@option("--tree", is_flag=True, help="List multi-platform images as a tree (EXPERIMENTAL)")
def ls(
    *,
    reference: str,
    all_: bool,
    digests: bool,
    cluster: bool,
    form: str,
    filters: tuple[str, ...],
    quiet: bool,
    no_trunc: bool,
    tree: bool,
) -> None:
    """List images."""
    if cluster:
        if reference or filters:
            raise click.UsageError("--cluster cannot be combined with a name or filters")
        list_cluster(form=form, quiet=quiet, trunc=not no_trunc)
        return
    conditions = options.parse_filters(filters)
    if reference:
        conditions.setdefault("reference", []).append(reference)
    if tree:
        if form or quiet or digests or no_trunc:
            raise click.UsageError("--tree cannot be combined with --format, --quiet, --digests or --no-trunc")
        _print_tree({"all": all_, "filters": conditions, "manifests": True})
        return
    images = options.client().get("/images/json", {"all": all_, "filters": conditions, "digests": digests})
    if digests and form.startswith("table ") and "{{.Digest}}" not in form:
        form += r"\t{{.Digest}}"
    listed = image_rows.rows(images, output.now_ns(), trunc=not no_trunc, digests=digests)
    output.print_rows(
        listed, image_rows.HEADERS, image_rows.DIGEST_TABLE if digests else image_rows.TABLE, form, quiet=quiet
    )


def _print_tree(query: dict[str, Any]) -> None:
    images = options.client().get("/images/json", query)
    click.echo(table.render(image_rows.tree(images), image_rows.TREE_HEADERS, image_rows.TREE_TABLE), nl=False)


@command("import")
@click.argument("source", metavar="file|URL|-")
@click.argument("name", default="", metavar="[REPOSITORY[:TAG]]")
@option("-c", "--change", "changes", multiple=True, help="Apply Dockerfile instruction to the created image")
@option("-m", "--message", default="", help="Set commit message for imported image")
@option("--platform", default="", help="Set platform of the image (e.g. linux/amd64)")
def import_(source: str, name: str, changes: tuple[str, ...], message: str, platform: str) -> None:
    """Create an image from a tarball of files."""
    is_url = source.startswith(("http://", "https://"))
    query: dict[str, Any] = {
        "fromSrc": source if is_url else "-",
        "repo": name,
        "changes": changes,
        "message": message,
        "platform": platform,
    }
    if is_url:  # the daemon fetches it
        show_messages(options.client().lines("POST", "/images/create", query))
        return
    with click.open_file(source, "rb") as file:
        show_messages(options.client().lines("POST", "/images/create", query, stream=_read_chunks(file)))


@command()
@option("-i", "--input", "source", default="-", metavar="string", help="Read from tar archive file, instead of STDIN")
@option("-q", "--quiet", is_flag=True, help="Suppress the load output")
@platform_option("Load only the given platform variant")
def load(source: str, quiet: bool, platform: str) -> None:
    """Load an image from a tar archive or STDIN."""
    if source == "-" and sys.stdin.isatty():
        raise click.UsageError("requested load from stdin, but stdin is a terminal: give a file with -i")
    with click.open_file(source, "rb") as file:
        query = {"quiet": quiet or not sys.stdout.isatty(), "platform": platform_fields(platform)}
        show_messages(options.client().lines("POST", "/images/load", query, stream=_read_chunks(file)))


@command()
@options.object_arguments("images", "image")
@option("-o", "--output", help="Write to a file, instead of STDOUT")
@platform_option("Save only the given platform variant")
def save(images: tuple[str, ...], output: str | None, platform: str) -> None:
    """Save one or more images to a tar archive."""
    from cli.archive_file import write_archive

    chunks = options.client().chunks("GET", "/images/get", {"names": images, "platform": platform_fields(platform)})
    write_archive(output, chunks, "save")


@command()
@options.object_arguments("images", "image")
@options.inspect_format_option
@platform_option("Inspect a specific platform of the multi-platform image")
def inspect(images: tuple[str, ...], form: str, platform: str) -> int:
    """Display detailed information on one or more images."""
    daemon, query = options.client(), {"platform": platform_fields(platform)}
    return output.print_objects(images, lambda ref: daemon.get(f"/images/{path_segment(ref)}/json", query), form)


@command()
@click.argument("source", metavar="SOURCE_IMAGE[:TAG]", shell_complete=complete("image"))
@click.argument("target", metavar="TARGET_IMAGE[:TAG]")
def tag(source: str, target: str) -> None:
    """Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE."""
    repository, separator, label = target.rpartition(":")
    if not separator or "/" in label:
        repository, label = target, ""
    options.client().post(f"/images/{path_segment(source)}/tag", {"repo": repository, "tag": label})


@command()
@options.object_arguments("images", "image")
@option("-f", "--force", is_flag=True, help="Force removal of the image")
@option("--no-prune", is_flag=True, help="Do not delete untagged parents")
@option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="strings",
    help='Remove only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")',
)
def rm(images: tuple[str, ...], force: bool, no_prune: bool, platforms: tuple[str, ...]) -> int:
    """Remove one or more images."""
    daemon = options.client()
    query = {
        "force": force,
        "noprune": no_prune,
        "platforms": [json.dumps(platform_fields(text)) for text in platforms],
    }

    def remove(ref: str) -> str:
        return _removed(daemon.delete(f"/images/{path_segment(ref)}", query))

    return output.for_each(images, remove)


@command()
@options.object_argument("image", "image")
@options.format_option
@option("-H", "--human/--no-human", default=True, help="Print sizes and dates in human readable format")
@options.quiet_option("image IDs")
@options.trunc_option
@platform_option("Show history for the given platform")
def history(*, image: str, form: str, human: bool, quiet: bool, no_trunc: bool, platform: str) -> None:
    """Show the history of an image."""
    steps = options.client().get(f"/images/{path_segment(image)}/history", {"platform": platform_fields(platform)})
    listed = [image_rows.step(step, output.now_ns(), human=human, trunc=not no_trunc) for step in steps]
    output.print_rows(listed, image_rows.STEP_HEADERS, image_rows.STEP_TABLE, form, quiet=quiet)


@command()
@option("-a", "--all", "all_", is_flag=True, help="Remove all unused images, not just dangling ones")
@options.prune_options
def prune(all_: bool, force: bool, filters: tuple[str, ...]) -> None:
    """Remove unused images."""
    from cli.format.units import human_size

    what = "without at least one container associated to them" if all_ else "without a tag"
    if not force:
        click.confirm(f"This will remove all images {what}. Continue?", abort=True)
    conditions = {**options.parse_filters(filters), "dangling": ["false" if all_ else "true"]}
    done = options.client().post("/images/prune", {"filters": conditions})
    removed = _removed(done.get("ImagesDeleted") or [])
    if removed:
        click.echo(f"Deleted Images:\n{removed}\n")
    click.echo(f"Total reclaimed space: {human_size(done.get('SpaceReclaimed', 0))}")


def _removed(items: list[dict[str, str]]) -> str:
    return "\n".join(
        f"Untagged: {item['Untagged']}" if item.get("Untagged") else f"Deleted: {item['Deleted']}" for item in items
    )


def _read_chunks(file: Any) -> Iterator[bytes]:
    while data := file.read(1 << 20):
        yield data
