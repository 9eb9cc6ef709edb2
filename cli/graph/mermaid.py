"""A network as a Mermaid flowchart: the network, its hosts as boxes of endpoints, services pointing at their tasks. Pure."""

from __future__ import annotations

from cli.graph.model import NetworkGraph

_QUOTED = {"&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "#": "#35;"}


def mermaid(graph: NetworkGraph) -> str:
    """The source of the flowchart."""
    lines = ["flowchart LR", f"  network[{_label(graph.name, graph.driver, *graph.subnets)}]"]
    numbers = {service.name: number for number, service in enumerate(graph.services)}
    edges = []
    lines += [
        f"  service{number}([{_label(service.name, service.address, *service.ports)}])"
        for number, service in enumerate(graph.services)
    ]
    for number, host in enumerate(graph.hosts):
        lines.append(f"  subgraph host{number}[{_label(host.name, host.address)}]")
        for index, endpoint in enumerate(host.endpoints):
            name = f"endpoint{number}_{index}"
            lines.append(f"    {name}[{_label(endpoint.name, *endpoint.addresses)}]")
            if endpoint.service in numbers:
                edges.append(f"  service{numbers[endpoint.service]} --> {name}")
        lines.append("  end")
        edges.append(f"  network --- host{number}")
    return "\n".join([*lines, *edges]) + "\n"


def _label(*words: str) -> str:
    return '"' + "<br/>".join(_quote(word) for word in words if word) + '"'


def _quote(text: str) -> str:
    return "".join(_QUOTED.get(letter, letter) for letter in text)
