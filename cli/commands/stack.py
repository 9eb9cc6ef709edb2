"""``covey stack``: deploys and lists stacks of Compose files, including those that ``docker stack`` deployed."""

import os
import re
from typing import TYPE_CHECKING

import click

from cli import options, output
from cli.client import DaemonClient
from cli.command import command, option
from cli.commands import task_list
from cli.rows import service as service_rows
from cli.rows import stack as stack_rows
from compose.stack.labels import STACK_NAMESPACE_LABEL
from covey.errors import InvalidArgumentError, NotFoundError

if TYPE_CHECKING:
    from compose.stack.model import Stack

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_FILES = option(
    "-c",
    "--compose-file",
    "files",
    multiple=True,
    metavar="strings",
    help='Path to a Compose file, or "-" to read from STDIN',
)
_RESOLVE = option(
    "--resolve-image",
    type=click.Choice(["always", "changed", "never"]),
    default="always",
    help="Query the registry to resolve image digests and supported platforms",
)
_GIT = option("--git", "repository", metavar="URL#ref:path", help="Take the Compose file from a Git repository")
EMPTY_DIFF = "Nothing would change."


@command()
@options.object_argument("stack", "stack")
@_FILES
@options.detach_option("the stack services")
@option("--dry-run", is_flag=True, help="Print what would change, and change nothing")
@_GIT
@option("--prune", is_flag=True, help="Prune services that are no longer referenced")
@options.progress_option
@_RESOLVE
@options.timeout_option("the services to converge")
@option("--with-registry-auth", is_flag=True, help="Send registry authentication details to the nodes")
def deploy(
    *,
    stack: str,
    files: tuple[str, ...],
    detach: bool,
    dry_run: bool,
    repository: str | None,
    prune: bool,
    quiet: bool,
    resolve_image: str,
    timeout_ns: int | None,
    with_registry_auth: bool,
) -> int:
    """Deploy a new stack or update an existing stack."""
    from cli.registry.service_images import ServiceImages
    from cli.stack import deploy as run
    from cli.stack.prepare import assumed_same, compared_by, stack_plan
    from cli.stack.report import report, unread_secrets

    options.require_wait(timeout_ns, detach=detach)
    described = _described(validated_name(stack), files, repository)
    daemon = options.client()
    images = ServiceImages(daemon, send_credentials=with_registry_auth, resolve=resolve_image)
    same_content = assumed_same if dry_run else compared_by(daemon)
    decided = stack_plan(daemon, described, images, same_content, prune=prune)
    if dry_run:
        click.echo("\n".join(report(decided, drift=False)) or EMPTY_DIFF)
        _name_unread(unread_secrets(decided))
        return 0
    names = run.deploy(daemon, decided, images)
    if detach:
        return 0
    from cli.service.wait import wait_for_services

    return wait_for_services(daemon, names, quiet=quiet, timeout_ns=timeout_ns)


@command()
@_FILES
def check(files: tuple[str, ...]) -> int:
    """Check Compose files for a cluster.

    Lists every key that has no meaning on a cluster, or the error with its place. The exit code is 1 if there is any, else 0.
    """
    from cli.stack.loader import check_stack

    found = check_stack("stack", _required(files), os.environ)
    for line in found:
        click.echo(line)
    return 1 if found else 0


@command()
@_FILES
@option("--skip-interpolation", is_flag=True, help="Skip interpolation and output only merged config")
def config(files: tuple[str, ...], skip_interpolation: bool) -> None:
    """Outputs the final config file, after doing merges and interpolations."""
    from cli.stack.loader import stack_config

    click.echo(stack_config(_required(files), os.environ, interpolated=not skip_interpolation), nl=False)


@command()
@options.object_argument("stack", "stack")
@_FILES
@_GIT
@option("--prune", is_flag=True, help="Count services that are no longer referenced as removed")
@_RESOLVE
def diff(*, stack: str, files: tuple[str, ...], repository: str | None, prune: bool, resolve_image: str) -> int:
    """Show how a stack differs from its Compose files.

    Without files, those of the repository of a watched stack are taken.
    Lines begin with + for what a deployment creates, ~ for what it updates, - for what it removes, and ! for what differs and stays.
    The exit code is 1 if there is a difference, else 0.
    """
    from cli.registry.service_images import ServiceImages
    from cli.stack.prepare import assumed_same, stack_plan
    from cli.stack.report import report, unread_secrets

    daemon = options.client()
    name = validated_name(stack)
    described = _described(name, files, repository) if files or repository else _watched(daemon, name)
    images = ServiceImages(daemon, send_credentials=False, resolve=resolve_image)
    decided = stack_plan(daemon, described, images, assumed_same, prune=prune)
    lines = report(decided, drift=True)
    for line in lines:
        click.echo(line)
    _name_unread(unread_secrets(decided))
    return 1 if lines else 0


@command()
@options.format_option
def ls(form: str) -> None:
    """List stacks."""
    from cli.stack.watch import watched_stacks

    daemon = options.client()
    services = daemon.get("/services", {"filters": {"label": [STACK_NAMESPACE_LABEL]}})
    watched = watched_stacks(daemon)
    headers, table = stack_rows.columns(watched)
    output.print_rows(stack_rows.rows(services, watched), headers, table, form)


@command()
@options.object_argument("stack", "stack")
@task_list.list_options
def ps(*, stack: str, form: str, filters: tuple[str, ...], quiet: bool, no_trunc: bool, no_resolve: bool) -> None:
    """List the tasks in the stack."""
    daemon = options.client()
    conditions = options.parse_filters(filters)
    conditions["label"] = [*conditions.get("label", []), f"{STACK_NAMESPACE_LABEL}={validated_name(stack)}"]
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
    conditions["label"] = [*conditions.get("label", []), f"{STACK_NAMESPACE_LABEL}={validated_name(stack)}"]
    found = options.client().get("/services", {"filters": conditions, "status": True})
    if not found:
        click.echo(f"Nothing found in stack: {stack}", err=True)
        return
    output.print_rows(service_rows.rows(found), service_rows.HEADERS, service_rows.TABLE, form, quiet=quiet)


@command()
@options.object_arguments("stacks", "stack")
@option("-d", "--detach", is_flag=True, help="Do not wait for stack removal")
def rm(stacks: tuple[str, ...], detach: bool) -> int:
    """Remove one or more stacks."""
    from cli.stack.remove import remove as remove_stack

    daemon = options.client()

    def remove(stack: str) -> None:
        if not remove_stack(daemon, validated_name(stack), detach=detach):
            click.echo(f"Nothing found in stack: {stack}", err=True)

    return output.for_each(stacks, remove, echo=False)


def validated_name(stack: str) -> str:
    if not _NAME.fullmatch(stack):
        raise InvalidArgumentError(f"invalid stack name: {stack!r}; use letters, digits, _, . and -")
    return stack


def _described(name: str, files: tuple[str, ...], repository: str | None) -> "Stack":
    """The stack of Compose files, or of those in a repository."""
    from cli.stack.loader import load_stack

    if repository is None:
        return load_stack(name, _required(files))

    from cli.stack.repository import load_from_repository
    from covey.git_source import parse_source

    return load_from_repository(name, parse_source(repository), files).stack


def _watched(daemon: DaemonClient, name: str) -> "Stack":
    """The stack of the repository that is watched."""
    from cli.stack.repository import load_from_repository
    from cli.stack.watch import watched_stack
    from covey.git_source import repository_source

    found = watched_stack(daemon, name)
    if found is None:
        raise click.UsageError("Please specify a Compose file (with --compose-file), or a repository (with --git)")
    spec = found["Spec"]
    source = repository_source(spec["URL"], spec["Ref"], spec["Path"])
    return load_from_repository(name, source, spec["Files"], spec.get("Environment") or {}).stack


def _required(files: tuple[str, ...]) -> tuple[str, ...]:
    if not files:
        raise click.UsageError("Please specify a Compose file (with --compose-file)")
    return files


def _name_unread(secrets: list[str]) -> None:
    if secrets:
        click.echo(f"Not compared, because contents of secrets cannot be read: {', '.join(secrets)}", err=True)
