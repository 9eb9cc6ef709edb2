"""``covey node``."""

from typing import Any

import click

from cli import options, output
from cli.client import DaemonClient, DaemonError, path_segment
from cli.commands import task_list
from cli.format.sorting import natural_sort_key
from cli.parse.key_values import parse_key_values
from cli.rows import node as node_rows
from covey.errors import InvalidArgumentError


@click.command()
@options.format_option
@options.filter_option
@options.quiet_option
def ls(form: str, filters: tuple[str, ...], quiet: bool) -> None:
    """List the nodes of the cluster."""
    daemon = options.client()
    nodes = daemon.get("/nodes", {"filters": options.parse_filters(filters)})
    swarm = (daemon.get("/info").get("Swarm") or {}) if nodes and not quiet else {}
    root = (swarm.get("Cluster") or {}).get("TLSInfo") or {}
    listed = [node_rows.row(node, swarm.get("NodeID", ""), root) for node in nodes]
    listed.sort(key=lambda row: natural_sort_key(row["Hostname"]))
    output.print_rows(listed, node_rows.HEADERS, node_rows.TABLE, form, quiet=quiet)


@click.command()
@click.argument("nodes", nargs=-1, required=True, metavar="self|NODE...")
@options.inspect_format_option
@click.option("--pretty", is_flag=True, help="Print the information in a form for people.")
def inspect(nodes: tuple[str, ...], form: str, pretty: bool) -> int:
    """Show nodes in detail."""
    daemon = options.client()
    if pretty and form:
        raise click.UsageError("--format is incompatible with --pretty")
    if pretty:
        from cli.pretty.inspect import node as text

        return output.for_each(nodes, lambda ref: text(_get(daemon, ref)).rstrip("\n"))
    return output.print_objects(nodes, lambda ref: _get(daemon, ref), form)


@click.command()
@click.argument("node")
@click.option("--availability", type=click.Choice(["active", "pause", "drain"]))
@click.option("--role", type=click.Choice(["worker", "manager"]))
@click.option("--label-add", multiple=True, metavar="KEY=VALUE", help="Add or update a node label.")
@click.option("--label-rm", multiple=True, metavar="KEY", help="Remove a node label.")
def update(
    node: str, availability: str | None, role: str | None, label_add: tuple[str, ...], label_rm: tuple[str, ...]
) -> None:
    """Change a node's role, availability or labels."""
    daemon = options.client()
    found = _get(daemon, node)
    spec = dict(found["Spec"])
    labels = dict(spec.get("Labels") or {})
    for key in label_rm:
        if key not in labels:
            raise InvalidArgumentError(f"key {key} doesn't exist in node's labels")
        del labels[key]
    labels.update(parse_key_values(label_add))
    spec.update(Labels=labels, Availability=availability or spec["Availability"], Role=role or spec["Role"])
    daemon.post(f"/nodes/{found['ID']}/update", {"version": found["Version"]["Index"]}, spec)
    click.echo(node)


@click.command()
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
def promote(nodes: tuple[str, ...]) -> int:
    """Make workers managers."""
    return _change_role(
        nodes, "manager", "Node {} promoted to a manager in the swarm.", "Node {} is already a manager."
    )


@click.command()
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
def demote(nodes: tuple[str, ...]) -> int:
    """Make managers workers."""
    return _change_role(nodes, "worker", "Manager {} demoted in the swarm.", "Node {} is already a worker.")


@click.command()
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@click.option("-f", "--force", is_flag=True, help="Remove a node that is not down.")
def rm(nodes: tuple[str, ...], force: bool) -> int:
    """Remove nodes from the cluster."""
    daemon = options.client()
    return output.for_each(nodes, lambda ref: daemon.delete(f"/nodes/{path_segment(ref)}", {"force": force}))


@click.command()
@click.argument("nodes", nargs=-1, metavar="[NODE...]")
@task_list.list_options
def ps(
    *, nodes: tuple[str, ...], form: str, filters: tuple[str, ...], quiet: bool, no_trunc: bool, no_resolve: bool
) -> int:
    """List the tasks on nodes, this one unless given."""
    daemon = options.client()
    wanted = options.parse_filters(filters)
    found, failed = [], False
    for ref in nodes or ("self",):
        try:
            node = _get(daemon, ref)
        except DaemonError as error:
            failed = True
            output.print_error(error)
        else:
            found += daemon.get("/tasks", {"filters": {**wanted, "node": [node["ID"]]}})
    if found or not failed:
        task_list.print_tasks(daemon, found, form, quiet=quiet, trunc=not no_trunc, resolve=not no_resolve)
    return int(failed)


def _get(daemon: DaemonClient, ref: str) -> Any:
    if ref == "self":
        swarm = daemon.get("/info").get("Swarm") or {}
        if not swarm.get("NodeID"):
            daemon.get("/nodes")  # refused, with the daemon's reason
        ref = swarm["NodeID"]
    return daemon.get(f"/nodes/{path_segment(ref)}")


def _change_role(nodes: tuple[str, ...], role: str, done: str, already: str) -> int:
    daemon = options.client()

    def change(ref: str) -> str:
        node = daemon.get(f"/nodes/{path_segment(ref)}")
        if node["Spec"]["Role"] == role:
            return already.format(ref)
        daemon.post(
            f"/nodes/{node['ID']}/update", {"version": node["Version"]["Index"]}, {**node["Spec"], "Role": role}
        )
        return done.format(ref)

    return output.for_each(nodes, change)
