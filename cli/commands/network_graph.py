"""``covey network graph`` and the peers of ``covey network inspect``: who is where on a network."""

from typing import Any

import click

from cli import options
from cli.client import DaemonClient, path_segment
from cli.command import command, option
from cli.graph.mermaid import mermaid
from cli.graph.model import NetworkGraph, network_graph
from cli.graph.svg import svg

FORMATS = {"mermaid": mermaid, "svg": svg}


@command()
@options.object_argument("network", "network")
@option("--format", "form", type=click.Choice(sorted(FORMATS)), default="mermaid", help="Format of the drawing")
def graph(network: str, form: str) -> None:
    """Draw a network.

    Shows the hosts on the network, the containers and tasks on each, and the services in front of them. On a manager these
    are those of the whole cluster, else those of this host.
    """
    click.echo(FORMATS[form](read_graph(options.client(), network)), nl=False)


def read_graph(daemon: DaemonClient, network: str) -> NetworkGraph:
    """The graph of a network."""
    found = daemon.get(f"/networks/{path_segment(network)}", {"verbose": True})
    info = daemon.get("/info")
    is_manager = bool((info.get("Swarm") or {}).get("ControlAvailable"))
    return network_graph(found, info["Name"], daemon.get("/nodes") if is_manager else [])


def peer_rows(daemon: DaemonClient, network: str) -> list[dict[str, Any]]:
    """The hosts on a network, with the number of endpoints on each."""
    found = read_graph(daemon, network)
    return [
        {"Network": found.name, "Node": host.name, "Address": host.address, "Endpoints": len(host.endpoints)}
        for host in found.hosts
    ]
