"""``covey image``."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cli import options, output
from cli.client import path_segment
from cli.rows import image as image_rows


@click.command()
@click.argument("reference", required=False, default="", metavar="[REPOSITORY[:TAG]]")
@click.option("-a", "--all", "all_", is_flag=True, help="Also the intermediate images.")
@click.option("--digests", is_flag=True, help="Show digests.")
@options.format_option
@options.filter_option
@options.quiet_option
@options.trunc_option
def ls(
    *, reference: str, all_: bool, digests: bool, form: str, filters: tuple[str, ...], quiet: bool, no_trunc: bool
) -> None:
    """List images."""
    wanted = options.parse_filters(filters)
    if reference:
        wanted.setdefault("reference", []).append(reference)
    images = options.client().get("/images/json", {"all": all_, "filters": wanted, "digests": digests})
    if digests and form.startswith("table ") and "{{.Digest}}" not in form:
        form += r"\t{{.Digest}}"
    listed = image_rows.rows(images, output.now_ns(), trunc=not no_trunc, digests=digests)
    output.print_rows(
        listed, image_rows.HEADERS, image_rows.DIGEST_TABLE if digests else image_rows.TABLE, form, quiet=quiet
    )


@click.command("import")
@click.argument("source", metavar="FILE|-")
@click.argument("name", default="", metavar="[REPOSITORY[:TAG]]")
@click.option("-c", "--change", "changes", multiple=True, help="Apply a Dockerfile instruction to the image.")
@click.option("-m", "--message", default="", help="A message for the image's history.")
@click.option("--platform", default="", help="The platform of the files, such as linux/amd64.")
def import_(source: str, name: str, changes: tuple[str, ...], message: str, platform: str) -> None:
    """Make an image of a tar archive of files."""
    query: dict[str, Any] = {
        "fromSrc": "-",
        "repo": name,
        "changes": changes,
        "message": message,
        "platform": platform,
    }
    with click.open_file(source, "rb") as file:
        for item in options.client().lines("POST", "/images/create", query, stream=_read_chunks(file)):
            if item.get("status"):
                click.echo(item["status"])


@click.command()
@click.option("-i", "--input", "source", default="-", metavar="FILE", help="Read from a file instead of stdin.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.option("--platform", default="", help="Load only this platform of the images.")
def load(source: str, quiet: bool, platform: str) -> None:
    """Load images from an archive."""
    if source == "-" and sys.stdin.isatty():
        raise click.UsageError("requested load from stdin, but stdin is a terminal: give a file with -i")
    with click.open_file(source, "rb") as file:
        query = {"quiet": quiet, "platform": platform}
        for item in options.client().lines("POST", "/images/load", query, stream=_read_chunks(file)):
            if item.get("stream"):
                click.echo(item["stream"], nl=False)


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-o", "--output", metavar="FILE", help="Write to a file instead of stdout.")
@click.option("--platform", default="", help="Save only this platform of the images.")
def save(images: tuple[str, ...], output: str | None, platform: str) -> None:
    """Save images to an archive."""
    if output is None and sys.stdout.isatty():
        raise click.UsageError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    chunks = options.client().chunks("GET", "/images/get", {"names": images, "platform": platform})
    if output is None:
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        return
    _write_atomically(Path(output), chunks)


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@options.inspect_format_option
def inspect(images: tuple[str, ...], form: str) -> int:
    """Show images in detail."""
    daemon = options.client()
    return output.print_objects(images, lambda ref: daemon.get(f"/images/{path_segment(ref)}/json"), form)


@click.command()
@click.argument("source", metavar="SOURCE[:TAG]")
@click.argument("target", metavar="TARGET[:TAG]")
def tag(source: str, target: str) -> None:
    """Give an image another name."""
    repository, separator, label = target.rpartition(":")
    if not separator or "/" in label:
        repository, label = target, ""
    options.client().post(f"/images/{path_segment(source)}/tag", {"repo": repository, "tag": label})


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-f", "--force", is_flag=True, help="Remove it even if stopped containers or other names use it.")
@click.option("--no-prune", is_flag=True, help="Keep parents that have no name.")
def rm(images: tuple[str, ...], force: bool, no_prune: bool) -> int:
    """Remove images."""
    daemon = options.client()

    def remove(ref: str) -> str:
        return _removed(daemon.delete(f"/images/{path_segment(ref)}", {"force": force, "noprune": no_prune}))

    return output.for_each(images, remove)


@click.command()
@click.argument("image")
@options.format_option
@click.option("-H", "--human/--no-human", default=True, help="Sizes and times as people read them.")
@click.option("-q", "--quiet", is_flag=True, help="Only show image IDs.")
@options.trunc_option
def history(image: str, form: str, human: bool, quiet: bool, no_trunc: bool) -> None:
    """Show the steps that made an image."""
    steps = options.client().get(f"/images/{path_segment(image)}/history")
    listed = [image_rows.step(step, output.now_ns(), human=human, trunc=not no_trunc) for step in steps]
    output.print_rows(listed, image_rows.STEP_HEADERS, image_rows.STEP_TABLE, form, quiet=quiet)


@click.command()
@click.option(
    "-a", "--all", "all_", is_flag=True, help="All images that no container uses, not only those without a name."
)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "filters", multiple=True, help="Filter what is removed: KEY=VALUE.")
def prune(all_: bool, force: bool, filters: tuple[str, ...]) -> None:
    """Remove unused images."""
    from cli.format.units import human_size

    what = "without a container" if all_ else "without a name"
    if not force:
        click.confirm(f"This will remove all images {what}. Continue?", abort=True)
    wanted = {**options.parse_filters(filters), "dangling": ["false" if all_ else "true"]}
    done = options.client().post("/images/prune", {"filters": wanted})
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


def _write_atomically(path: Path, chunks: Iterator[bytes]) -> None:
    """The file appears when all of it is there."""
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            for chunk in chunks:
                device.write(chunk)
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fchmod(file.fileno(), 0o600)
            Path(file.name).rename(path)
        except BaseException:
            Path(file.name).unlink()
            raise
