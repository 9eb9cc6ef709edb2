"""``covey`` commands on the files of a container: cp, diff, export, commit."""

import sys

import click

from cli import options
from cli.client import DaemonClient, path_segment
from cli.command import command, option
from cli.completion import complete

_KINDS = {0: "C", 1: "A", 2: "D"}


@command()
@click.argument("source", metavar="SRC", shell_complete=complete("container", suffix=":"))
@click.argument("target", metavar="DEST", shell_complete=complete("container", suffix=":"))
@option("-a", "--archive", is_flag=True, help="Archive mode (copy all uid/gid information)")
@option("-L", "--follow-link", is_flag=True, help="Always follow symbol link in SRC_PATH")
@option(
    "-q",
    "--quiet",
    is_flag=True,
    default=None,
    help="Suppress progress output during copy. It is suppressed if no terminal is attached",
)
def cp(*, source: str, target: str, archive: bool, follow_link: bool, quiet: bool | None) -> None:
    """Copy files/folders between a container and the local filesystem.

    A path in a container is written CONTAINER:PATH. Use - as the source to read a tar archive from stdin and extract it to a
    directory in a container. Use - as the destination to write a tar archive of a container's path to stdout.
    """
    from cli.container.copy import Transfer
    from cli.container.copy_paths import check_endpoints, parse_endpoint

    origin, destination = parse_endpoint(source), parse_endpoint(target)
    check_endpoints(origin, destination)
    silent = not sys.stdout.isatty() if quiet is None else quiet
    transfer = Transfer(options.client(), archive=archive, follow_link=follow_link, quiet=silent)
    if origin.container:
        transfer.from_container(origin, destination.path)
    else:
        transfer.to_container(origin.path, destination)


@command()
@options.object_argument("container", "container")
def diff(container: str) -> None:
    """Inspect changes to files or directories on a container's filesystem."""
    for change in options.client().get(f"/containers/{path_segment(container)}/changes") or []:
        click.echo(f"{_KINDS.get(change['Kind'], '?')} {change['Path']}")


@command()
@options.object_argument("container", "container")
@option("-o", "--output", metavar="string", help="Write to a file, instead of STDOUT")
def export(container: str, output: str | None) -> None:
    """Export a container's filesystem as a tar archive."""
    from cli.archive_file import write_archive

    write_archive(output, options.client().chunks("GET", f"/containers/{path_segment(container)}/export"), "export")


@command()
@options.object_argument("container", "container")
@click.argument("name", default="", metavar="[REPOSITORY[:TAG]]")
@option("-a", "--author", default="", help='Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")')
@option("-c", "--change", "changes", multiple=True, help="Apply Dockerfile instruction to the created image")
@option("-m", "--message", default="", help="Commit message")
@option("-p", "--pause/--no-pause", default=True, negation=False, help="Pause container during commit")
def commit(*, container: str, name: str, author: str, changes: tuple[str, ...], message: str, pause: bool) -> None:
    """Create a new image from a container's changes."""
    click.echo(
        commit_container(
            options.client(), container, name, author=author, changes=changes, message=message, pause=pause
        )
    )


def commit_container(
    daemon: DaemonClient,
    container: str,
    name: str,
    *,
    author: str,
    changes: tuple[str, ...],
    message: str,
    pause: bool,
) -> str:
    """Make an image of a container; returns its id."""
    from cli.registry.reference import parse_reference

    reference = parse_reference(name) if name else None
    query = {
        "container": container,
        "repo": reference.familiar_name if reference else "",
        "tag": reference.tag if reference else "",
        "comment": message,
        "author": author,
        "changes": changes,
        "pause": "" if pause else "0",
    }
    return str(daemon.call("POST", "/commit", query, patient=True)["Id"])
