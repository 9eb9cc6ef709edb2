"""``covey compose`` commands on the files of containers: cp, export, commit."""

import click

from cli.command import option
from cli.compose.command import compose_command
from cli.compose.session import Session
from covey.errors import InvalidArgumentError


@compose_command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DEST")
@option("--all", "all_", is_flag=True, help="Include containers created by the run command")
@option("-a", "--archive", is_flag=True, help="Archive mode (copy all uid/gid information)")
@option("-L", "--follow-link", is_flag=True, help="Always follow symbol link in SRC_PATH")
@option("--index", type=int, default=0, help="Index of the container if service has multiple replicas")
def cp(*, source: str, target: str, all_: bool, archive: bool, follow_link: bool, index: int) -> None:
    """Copy files/folders between a service container and the local filesystem."""
    from cli.container.copy import Transfer
    from cli.container.copy_paths import check_endpoints, parse_endpoint

    session = Session.current()
    origin, destination = parse_endpoint(source), parse_endpoint(target)
    check_endpoints(origin, destination)
    found = session.containers((origin.container or destination.container,), one_off=all_, index=index)
    if not found:
        raise InvalidArgumentError(f'no container found for service "{origin.container or destination.container}"')
    transfer = Transfer(session.daemon, archive=archive, follow_link=follow_link, quiet=True)
    for item in found[:1] if origin.container or not (all_ or not index) else found:
        subject = f"{item.name} copy {source} to {target}"
        session.progress.report(subject, "Copying")
        if not session.dry_run:
            if origin.container:
                transfer.from_container(origin._replace(container=item.id), destination.path)
            else:
                transfer.to_container(origin.path, destination._replace(container=item.id))
        session.progress.report(subject, "Copied")


@compose_command()
@click.argument("service")
@option("--index", type=int, default=0, help="index of the container if service has multiple replicas")
@option("-o", "--output", default="", help="Write to a file, instead of STDOUT")
def export(service: str, index: int, output: str) -> None:
    """Export a service container's filesystem as a tar archive."""
    from cli.commands.container_files import export as container_export

    session = Session.current()
    container = session.container(service, index)
    session.progress.report(container.name, "Exporting")
    if not session.dry_run:
        click.get_current_context().invoke(container_export, container=container.id, output=output or None)
    session.progress.report(container.name, "Exported")


@compose_command()
@click.argument("service")
@click.argument("name", default="", metavar="[REPOSITORY[:TAG]]")
@option("-a", "--author", default="", help='Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")')
@option("-c", "--change", "changes", multiple=True, help="Apply Dockerfile instruction to the created image")
@option("--index", type=int, default=0, help="index of the container if service has multiple replicas")
@option("-m", "--message", default="", help="Commit message")
@option("-p", "--pause/--no-pause", default=True, negation=False, help="Pause container during commit")
def commit(
    *, service: str, name: str, author: str, changes: tuple[str, ...], index: int, message: str, pause: bool
) -> None:
    """Create a new image from a service container's changes."""
    from cli.commands.container_files import commit_container

    session = Session.current()
    container = session.container(service, index)
    session.progress.report(container.name, "Committing")
    image = ""
    if not session.dry_run:
        image = commit_container(
            session.daemon, container.id, name, author=author, changes=changes, message=message, pause=pause
        )
    session.progress.report(container.name, "Committed", f"as {image}" if image else "")
