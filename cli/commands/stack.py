"""``covey stack``: deploys and lists stacks of Compose files, including those that ``docker stack`` deployed."""

import os
import re

import click

from cli import options, output
from cli.command import command, option
from cli.commands import task_list
from cli.rows import service as service_rows
from compose.stack.labels import STACK_NAMESPACE_LABEL
from covey.errors import InvalidArgumentError, NotFoundError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_FILES = option(
    "-c",
    "--compose-file",
    "files",
    multiple=True,
    metavar="strings",
    help='Path to a Compose file, or "-" to read from STDIN',
)


@command()
@options.object_argument("stack", "stack")
@_FILES
@options.detach_option("the stack services")
@option("--prune", is_flag=True, help="Prune services that are no longer referenced")
@options.progress_option
@option(
    "--resolve-image",
    type=click.Choice(["always", "changed", "never"]),
    default="always",
    help="Query the registry to resolve image digests and supported platforms",
)
@option("--with-registry-auth", is_flag=True, help="Send registry authentication details to the nodes")
def deploy(
    *,
    stack: str,
    files: tuple[str, ...],
    detach: bool,
    prune: bool,
    quiet: bool,
    resolve_image: str,
    with_registry_auth: bool,
) -> int:
    """Deploy a new stack or update an existing stack."""
    from cli.registry.service_images import ServiceImages
    from cli.stack import deploy as run
    from cli.stack import loader as manifests

    name = _validated_name(stack)
    if not files:
        raise click.UsageError("Please specify a Compose file (with --compose-file)")
    described = manifests.load_stack(name, files)
    daemon = options.client()
    images = ServiceImages(daemon, send_credentials=with_registry_auth, resolve=resolve_image)
    names = run.deploy(daemon, described, images, prune=prune)
    if detach:
        return 0
    from cli.service.wait import wait_for_services

    return wait_for_services(daemon, names, quiet=quiet)


@command()
@_FILES
@option("--skip-interpolation", is_flag=True, help="Skip interpolation and output only merged config")
def config(files: tuple[str, ...], skip_interpolation: bool) -> None:
    """Outputs the final config file, after doing merges and interpolations."""
    from cli.stack.loader import stack_config

    if not files:
        raise click.UsageError("Please specify a Compose file (with --compose-file)")
    click.echo(stack_config(files, os.environ, interpolated=not skip_interpolation), nl=False)


@command()
@options.format_option
def ls(form: str) -> None:
    """List stacks."""
    services = options.client().get("/services", {"filters": {"label": [STACK_NAMESPACE_LABEL]}})
    output.print_rows(service_rows.stacks(services), service_rows.STACK_HEADERS, service_rows.STACK_TABLE, form)


@command()
@options.object_argument("stack", "stack")
@task_list.list_options
def ps(*, stack: str, form: str, filters: tuple[str, ...], quiet: bool, no_trunc: bool, no_resolve: bool) -> None:
    """List the tasks in the stack."""
    daemon = options.client()
    conditions = options.parse_filters(filters)
    conditions["label"] = [*conditions.get("label", []), f"{STACK_NAMESPACE_LABEL}={_validated_name(stack)}"]
    found = daemon.get("/tasks", {"filters": conditions})
    if not found:
        raise NotFoundError(f"nothing found in stack: {stack}")
    task_list.print_tasks(daemon, found, form, quiet=quiet, trunc=not no_trunc, resolve=not no_resolve)


@command()
@options.object_argument("stack", "stack")
@options.format_option
@options.filter_option
@options.quiet_option()
def services(stack: str, form: str, filters: tuple[str, ...], quiet: bool) -> None:
    """List the services in the stack."""
    conditions = options.parse_filters(filters)
    conditions["label"] = [*conditions.get("label", []), f"{STACK_NAMESPACE_LABEL}={_validated_name(stack)}"]
    found = options.client().get("/services", {"filters": conditions, "status": True})
    if not found:
        click.echo(f"Nothing found in stack: {stack}", err=True)
        return
    output.print_rows(service_rows.rows(found), service_rows.HEADERS, service_rows.TABLE, form, quiet=quiet)


@command()
@options.object_arguments("stacks", "stack")
@option("-d", "--detach", is_flag=True, supported=False, help="Do not wait for stack removal")
def rm(stacks: tuple[str, ...], detach: bool) -> int:
    """Remove one or more stacks."""
    from cli.stack import deploy as run

    del detach
    daemon = options.client()

    def remove(stack: str) -> None:
        if not run.remove(daemon, _validated_name(stack)):
            click.echo(f"Nothing found in stack: {stack}", err=True)

    return output.for_each(stacks, remove, echo=False)


def _validated_name(stack: str) -> str:
    if not _NAME.fullmatch(stack):
        raise InvalidArgumentError(f"invalid stack name: {stack!r}; use letters, digits, _, . and -")
    return stack
