"""``covey network verify``: compares the network state of the nodes with what is wanted."""

from collections.abc import Iterator
from typing import Any

import click

from cli import options, output
from cli.client import DaemonClient
from cli.command import command, option

HEADERS = {"Namespace": "NAMESPACE", "Kind": "DIFFERENCE", "Item": "ITEM", "Wanted": "WANTED", "Found": "FOUND"}
TABLE = "{{.Namespace}}\t{{.Kind}}\t{{.Item}}\t{{.Wanted}}\t{{.Found}}"
NODE_HEADERS = {"Node": "NODE", **HEADERS}
NODE_TABLE = "{{.Node}}\t" + TABLE
_ID_WIDTH = 12
_VALUE_WIDTH = 60


@command()
@options.format_option
@options.trunc_option
@option("--host", is_flag=True, help="Verify this host only")
@option("--repair", is_flag=True, help="Carry out the differences, and verify again")
def verify(form: str, no_trunc: bool, host: bool, repair: bool) -> int:
    """Verify the network state of the nodes.

    Lists every item of the kernel that is missing, altered or stray: on a manager those of all nodes, else those of this
    host. The exit status is 1 if there are differences or if a node does not answer; with --repair, if any are left.
    """
    daemon = options.client()
    whole_cluster = not host and bool((daemon.get("/info").get("Swarm") or {}).get("ControlAvailable"))
    nodes = _check(daemon, whole_cluster=whole_cluster, repair=repair)
    rows = [_row(node, one, trunc=not no_trunc) for node in nodes for one in node["Differences"]]
    left = [(node, one) for node in nodes for one in node["Remaining" if repair else "Differences"]]
    omitted = sum(node["Omitted"] for node in nodes)
    silent = [node for node in nodes if node["Error"]]
    if rows or form:
        headers, table = (NODE_HEADERS, NODE_TABLE) if whole_cluster else (HEADERS, TABLE)
        output.print_rows(rows, headers, table, form)
    elif not silent and not left:
        click.echo("No differences")
    if omitted:
        click.echo(f"{omitted} more differences are not listed", err=True)
    if repair and rows:
        done = max(len(rows) + omitted - len(left), 0)
        click.echo(f"Repaired {done} differences, {len(left)} left", err=True)
        for node, one in left:
            place = f"{node['Hostname']}: " if whole_cluster else ""
            click.echo(f"{place}{one['Namespace']}: {one['Item']} is still {one['Kind']}", err=True)
    for node in nodes:
        for text in _dropped(node.get("DroppedPackets") or {}):
            click.echo(f"{node['Hostname']}: {text}" if whole_cluster else text, err=True)
    for node in silent:
        click.echo(f"node {node['Hostname'] or node['ID']} was not checked: it {node['Error']}", err=True)
    return int(bool(left or silent))


def _check(daemon: DaemonClient, *, whole_cluster: bool, repair: bool) -> list[dict[str, Any]]:
    """The answers by node; of this host alone, one without a name."""
    place = "/covey/cluster/network" if whole_cluster else "/covey/network"
    answer = daemon.post(f"{place}/repair") if repair else daemon.get(f"{place}/verify")
    if whole_cluster:
        return list(answer["Nodes"])
    return [{"ID": "", "Hostname": "", "Error": "", "Remaining": [], "Omitted": 0, **answer}]


def _dropped(packets: dict[str, int]) -> Iterator[str]:
    if count := packets.get("NotFromMembers"):
        yield f"{count} VXLAN packets were dropped, because their senders are no members of the network"
    if count := packets.get("UnknownNetworks"):
        yield f"{count} VXLAN packets were of networks that this host does not have"


def _row(node: dict[str, Any], one: dict[str, Any], *, trunc: bool) -> dict[str, str]:
    named = {"Node": node["Hostname"] or node["ID"]} if node["ID"] else {}
    if not trunc:
        return {**named, **one}
    kind, slash, name = one["Namespace"].partition("/")
    return {
        **named,
        **one,
        "Namespace": kind + slash + name[:_ID_WIDTH],
        "Wanted": _shortened(one["Wanted"]),
        "Found": _shortened(one["Found"]),
    }


def _shortened(text: str) -> str:
    return text if len(text) <= _VALUE_WIDTH else text[: _VALUE_WIDTH - 1] + "…"
