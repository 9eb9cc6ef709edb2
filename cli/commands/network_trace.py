"""``covey network trace``: follows the path of a packet over the kernels on its way, and names where it ends."""

import json
import re
from typing import Any

import click

from cli import options
from cli.command import command, option

_PORT = re.compile(r"(?P<host>\[[^]]*\]|[^:]+):(?P<port>[^:]*)\Z")
_MARKS = {"passed": "ok", "broken": "BROKEN", "note": "note"}
_ID_WIDTH = 12


@command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO[:PORT]")
@option("--protocol", type=click.Choice(["tcp", "udp", "sctp"]), default="tcp", help="Protocol of the packet")
@option("--json", "as_json", is_flag=True, help="Print the hops as JSON")
def trace(source: str, target: str, protocol: str, as_json: bool) -> int:
    """Follow the path of a packet and name where it ends.

    FROM is a container, a task, a node (a program on it), or outside@NODE (a client that arrives at that node). TO is a
    service, a container, a task, a node or an address; IPv6 with a port in brackets, [fd00::1]:80. Each hop is printed with
    what was read from the kernel there. Nothing is sent and nothing is changed. On a manager the path may cross all nodes,
    elsewhere it ends at this host. The exit status is 1 if the path is broken.
    """
    name, port = split_port(target)
    query = {"from": source, "to": name, "port": port, "protocol": protocol}
    found = options.client().get("/covey/network/trace", query)
    if as_json:
        click.echo(json.dumps(found, indent=4))
    else:
        click.echo("\n".join(lines(found["Hops"])))
        click.echo(f"{source} {'reaches' if found['Reached'] else 'does not reach'} {target} ({protocol})")
    return int(not found["Reached"])


def split_port(target: str) -> tuple[str, str]:
    """The place and the port of ``TO[:PORT]``."""
    match = _PORT.match(target)
    if match is None:
        return target.strip("[]"), ""
    return match["host"].strip("[]"), match["port"]


def lines(hops: list[dict[str, Any]]) -> list[str]:
    """The hops as people read them: one line each, under a line for each namespace."""
    found: list[str] = []
    place = ("", "")
    for hop in hops:
        if (hop["Host"], hop["Namespace"]) != place:
            place = (hop["Host"], hop["Namespace"])
            kind, slash, name = hop["Namespace"].partition("/")
            found.append(f"{hop['Host'] or '-'} {kind}{slash}{name[:_ID_WIDTH]}".rstrip())
        found.append(f"  {_MARKS[hop['State']]:<7}{hop['Step']}: {hop['Found']}   [{hop['Read']}]")
        if hop["Reason"]:
            found.append(f"         {hop['Reason']}")
        if hop["Remedy"]:
            found.append(f"         remedy: {hop['Remedy']}")
    return found
