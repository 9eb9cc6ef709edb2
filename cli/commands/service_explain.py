"""``covey service explain``, and the dry runs of commands that change services."""

from collections.abc import Mapping
from typing import Any

import click

from cli import options, output
from cli.client import DaemonClient, path_segment
from cli.command import command
from cli.pretty.explanation import dry_run as dry_run_lines
from cli.pretty.explanation import explanation


@command()
@options.object_arguments("services", "service")
@options.inspect_format_option
def explain(services: tuple[str, ...], form: str) -> int:
    """Explain why tasks of services wait.

    Says for waiting tasks how many nodes each condition of the placement refused and which single change would place them, and
    what tasks wait for that have a node: dependencies, addresses, restarts, images.
    """
    daemon = options.client()

    def get(ref: str) -> Any:
        return daemon.get(f"/services/{path_segment(ref)}/explain")

    if form:
        return output.print_objects(services, get, form)
    return output.for_each(services, lambda ref: "\n".join(explanation(get(ref))))


def print_dry_run(
    daemon: DaemonClient,
    path: str,
    query: Mapping[str, Any],
    spec: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> int:
    """Ask what the request would lead to, and print the difference of the specs and the placement.

    Returns 0 if all tasks would have what they need, else 1.
    """
    from cli.stack.report import created_service, updated_service

    found = daemon.call("POST", path, {**query, "dryRun": True}, spec, headers=headers)
    for warning in found.get("Warnings") or []:
        click.echo(warning, err=True)
    after = found["After"]
    if found["Before"] is None:
        click.echo(created_service(after["Name"], after))
    else:
        networks = {network["Id"]: network["Name"] for network in daemon.get("/networks")}
        for line in updated_service(after["Name"], found["Before"], after, networks):
            click.echo(line)
    click.echo("Placement:")
    for line in dry_run_lines(found):
        click.echo(line)
    return int(bool(found["Explanation"]["Waiting"]))
