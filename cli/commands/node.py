"""``covey node``: lists, inspects, updates, promotes and removes nodes."""

from typing import Any

import click

from cli import options, output
from cli.client import DaemonClient, DaemonError, path_segment
from cli.command import command, option
from cli.commands import task_list
from cli.completion import complete
from cli.format.sorting import natural_sort_key
from cli.parse.key_values import parse_key_values
from cli.rows import node as node_rows
from covey.errors import InvalidArgumentError


@command()
@options.format_option
@options.filter_option
@options.quiet_option()
def ls(form: str, filters: tuple[str, ...], quiet: bool) -> None:
    """List nodes in the swarm."""
    daemon = options.client()
    nodes = daemon.get("/nodes", {"filters": options.parse_filters(filters)})
    swarm = (daemon.get("/info").get("Swarm") or {}) if nodes and not quiet else {}
    root = (swarm.get("Cluster") or {}).get("TLSInfo") or {}
    listed = [node_rows.row(node, swarm.get("NodeID", ""), root) for node in nodes]
    listed.sort(key=lambda row: natural_sort_key(row["Hostname"]))
    output.print_rows(listed, node_rows.HEADERS, node_rows.TABLE, form, quiet=quiet)


@command()
@options.object_arguments("nodes", "node", metavar="self|NODE", extra=("self",))
@options.inspect_format_option
@option("--pretty", is_flag=True, help="Print the information in a human friendly format")
def inspect(nodes: tuple[str, ...], form: str, pretty: bool) -> int:
    """Display detailed information on one or more nodes."""
    daemon = options.client()
    if pretty and form:
        raise click.UsageError("--format is incompatible with --pretty")
    if pretty:
        from cli.pretty.inspect import node as text

        return output.for_each(nodes, lambda ref: text(_get(daemon, ref)).rstrip("\n"))
    return output.print_objects(nodes, lambda ref: _get(daemon, ref), form)


@command()
@options.object_argument("node", "node")
@option("--availability", type=click.Choice(["active", "pause", "drain"]), help="Availability of the node")
@option("--role", type=click.Choice(["worker", "manager"]), help="Role of the node")
@option("--label-add", multiple=True, help="Add or update a node label (key=value)")
@option("--label-rm", multiple=True, help="Remove a node label by its key")
def update(
    node: str, availability: str | None, role: str | None, label_add: tuple[str, ...], label_rm: tuple[str, ...]
) -> None:
    """Update a node."""
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


@command()
@options.object_arguments("nodes", "node")
def promote(nodes: tuple[str, ...]) -> int:
    """Promote one or more nodes to manager in the swarm."""
    return _change_role(
        nodes, "manager", "Node {} promoted to a manager in the swarm.", "Node {} is already a manager."
    )


@command()
@options.object_arguments("nodes", "node")
def demote(nodes: tuple[str, ...]) -> int:
    """Demote one or more nodes from manager in the swarm."""
    return _change_role(nodes, "worker", "Manager {} demoted in the swarm.", "Node {} is already a worker.")


@command()
@options.object_arguments("nodes", "node")
@option("-f", "--force", is_flag=True, help="Force remove a node from the swarm")
def rm(nodes: tuple[str, ...], force: bool) -> int:
    """Remove one or more nodes from the swarm."""
    daemon = options.client()
    return output.for_each(nodes, lambda ref: daemon.delete(f"/nodes/{path_segment(ref)}", {"force": force}))


@command()
@click.argument("nodes", nargs=-1, metavar="[NODE...]", shell_complete=complete("node", extra=("self",)))
@task_list.list_options
def ps(
    *, nodes: tuple[str, ...], form: str, filters: tuple[str, ...], quiet: bool, no_trunc: bool, no_resolve: bool
) -> int:
    """List tasks running on one or more nodes, defaults to current node."""
    daemon = options.client()
    conditions = options.parse_filters(filters)
    found, failed = [], False
    for ref in nodes or ("self",):
        try:
            node = _get(daemon, ref)
        except DaemonError as error:
            failed = True
            output.print_error(error)
        else:
            found += daemon.get("/tasks", {"filters": {**conditions, "node": [node["ID"]]}})
    if found or not failed:
        task_list.print_tasks(daemon, found, form, quiet=quiet, trunc=not no_trunc, resolve=not no_resolve)
    return int(failed)


def _get(daemon: DaemonClient, ref: str) -> Any:
    if ref == "self":
        swarm = daemon.get("/info").get("Swarm") or {}
        if not swarm.get("NodeID"):
            daemon.get("/nodes")  # the daemon refuses this with its reason
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
