"""``covey stack watch``: has the managers deploy a stack again whenever its repository changes."""

from typing import Any

import click

from cli import options, output
from cli.client import DaemonClient
from cli.command import command, option
from cli.commands.stack import validated_name
from cli.completion import complete
from cli.parse.param_types import DURATION
from cli.rows import watched_stack as rows
from covey.errors import NotFoundError, UnsupportedError

_SPEC_OPTIONS = {
    "files": "--compose-file",
    "interval": "--interval",
    "prune": "--prune",
    "env": "--env",
}


@command()
@click.argument("stack", required=False, metavar="[STACK]", shell_complete=complete("stack"))
@option(
    "--git", "repository", metavar="URL#ref:path", help="Watch this Git repository: a branch or tag, and a path in it"
)
@option(
    "-c",
    "--compose-file",
    "files",
    multiple=True,
    metavar="strings",
    help="Path to a Compose file below the path in the repository",
)
@options.detach_option("the stack")
@option("-e", "--env", "env", multiple=True, metavar="list", help="Set variables that the files are interpolated with")
@options.format_option
@option(
    "--interval", type=DURATION, default_text="1m0s", help="Time between two checks of the repository (ns|us|ms|s|m|h)"
)
@options.trunc_option
@option("--now", is_flag=True, help="Check the repository and deploy now, whether it changed or not")
@option("--prune", is_flag=True, help="Prune services that are no longer referenced")
@option("--stop", is_flag=True, help="Stop watching; the services stay")
@option("--with-registry-auth", is_flag=True, hidden=True)
def watch(
    *,
    stack: str | None,
    repository: str | None,
    detach: bool,
    form: str,
    no_trunc: bool,
    now: bool,
    stop: bool,
    with_registry_auth: bool,
    **spec: Any,
) -> int:
    """Deploy a stack whenever its Git repository changes.

    Without STACK lists the watched stacks, and with STACK alone shows one. The managers check the repository, also while no
    client is connected. Watching a stack anew replaces what was given before.
    """
    if with_registry_auth:
        raise UnsupportedError(
            "credentials of a client are not kept for a watched stack: deploy it once with covey stack deploy --with-registry-auth, "
            "and updates keep those of each service"
        )
    if sum(map(bool, (repository, now, stop))) > 1:
        raise click.UsageError("--git, --now and --stop exclude each other")
    if repository is None and (given := [_SPEC_OPTIONS[key] for key, value in spec.items() if value]):
        raise click.UsageError(f"{given[0]} needs --git, which names the repository")
    if stack is None:
        if repository or now or stop:
            raise click.UsageError("name the stack: covey stack watch STACK")
        return _list(options.client(), form, trunc=not no_trunc)
    return _watch(
        options.client(), validated_name(stack), repository, spec, now=now, stop=stop, detach=detach, form=form
    )


def _list(daemon: DaemonClient, form: str, *, trunc: bool) -> int:
    watched = rows.rows(daemon.get("/covey/stacks/watched"), output.now_ns(), trunc=trunc)
    output.print_rows(watched, rows.HEADERS, rows.TABLE, form)
    return 0


def _watch(
    daemon: DaemonClient,
    stack: str,
    repository: str | None,
    spec: Any,
    *,
    now: bool,
    stop: bool,
    detach: bool,
    form: str,
) -> int:
    from cli.stack.watch import stop_watching, wait_until_deployed, watch_path

    if stop:
        if not stop_watching(daemon, stack):
            raise NotFoundError(f"stack {stack} is not watched")
        click.echo(f"Stack {stack} is no longer watched; its services stay")
        return 0
    if repository:
        answer = daemon.post(watch_path(stack), body=_body(repository, spec))
    elif now:
        answer = daemon.post(f"{watch_path(stack)}/deploy")
    else:
        return output.print_objects((stack,), lambda name: daemon.get(watch_path(name)), form)
    return 0 if detach else wait_until_deployed(daemon, stack, answer["Request"])


def _body(repository: str, spec: Any) -> dict[str, Any]:
    from cli.parse.environment import environment_variables
    from covey.git_source import parse_source

    source = parse_source(repository)
    variables = dict(text.partition("=")[::2] for text in environment_variables(spec["env"], ()))
    return {
        "URL": source.url,
        "Ref": source.ref,
        "Path": source.path,
        "Files": list(spec["files"]),
        "Interval": spec["interval"] or 0,
        "Prune": spec["prune"],
        "Environment": variables,
    }
