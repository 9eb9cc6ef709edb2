"""Drawings of networks from what the API shows of them."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from cli.graph.mermaid import mermaid
from cli.graph.model import GraphEndpoint, GraphHost, network_graph
from cli.graph.svg import svg

NODES = [
    {"ID": "n1", "Description": {"Hostname": "alpha"}, "Status": {"Addr": "192.0.2.1"}},
    {"ID": "n2", "Description": {"Hostname": "beta"}, "Status": {"Addr": "192.0.2.2"}},
]


def task(name: str, address: str, host: str) -> dict[str, Any]:
    return {"Name": name, "EndpointID": f"e-{name}", "EndpointIP": address, "Info": {"Host IP": host}}


def overlay(**changes: Any) -> dict[str, Any]:
    tasks = [task("web.1.x", "10.0.1.5", "192.0.2.1"), task("web.2.y", "10.0.1.6", "192.0.2.2")]
    found = {
        "Name": "shop", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.0.1.0/24"}]},
        "Peers": [{"Name": "n1", "IP": "192.0.2.1"}, {"Name": "n2", "IP": "192.0.2.2"}],
        "Services": {"web": {"VIP": "10.0.1.2", "Ports": ["Target: 80, Publish: 8080"], "Tasks": tasks}},
        "Containers": {
            "c1": {"Name": "web.1.x", "EndpointID": "e-web.1.x", "IPv4Address": "10.0.1.5/24", "IPv6Address": ""},
            "c2": {"Name": "debug", "EndpointID": "e-debug", "IPv4Address": "10.0.1.9/24", "IPv6Address": "fd00::9/64"},
        },
    }  # fmt: skip
    return {**found, **changes}


def test_tasks_are_on_their_hosts_and_shown_once() -> None:
    graph = network_graph(overlay(), "alpha", NODES)
    assert graph.hosts == (
        GraphHost(
            name="alpha",
            address="192.0.2.1",
            endpoints=(
                GraphEndpoint(name="debug", addresses=("10.0.1.9", "fd00::9")),
                GraphEndpoint(name="web.1.x", addresses=("10.0.1.5",), service="web"),
            ),
        ),
        GraphHost(
            name="beta",
            address="192.0.2.2",
            endpoints=(GraphEndpoint(name="web.2.y", addresses=("10.0.1.6",), service="web"),),
        ),
    )


def test_a_network_of_one_host_has_its_containers() -> None:
    network = overlay(Driver="bridge", Peers=None, Services=None)
    graph = network_graph(network, "alpha")
    assert [(host.name, [one.name for one in host.endpoints]) for host in graph.hosts] == [
        ("alpha", ["debug", "web.1.x"])
    ]
    assert network_graph({**network, "Containers": {}}, "alpha").hosts == ()


def test_the_flowchart_joins_services_with_their_tasks() -> None:
    assert mermaid(network_graph(overlay(), "alpha", NODES)).splitlines() == [
        "flowchart LR",
        '  network["shop<br/>overlay<br/>10.0.1.0/24"]',
        '  service0(["web<br/>10.0.1.2<br/>Target: 80, Publish: 8080"])',
        '  subgraph host0["alpha<br/>192.0.2.1"]',
        '    endpoint0_0["debug<br/>10.0.1.9<br/>fd00::9"]',
        '    endpoint0_1["web.1.x<br/>10.0.1.5"]',
        "  end",
        '  subgraph host1["beta<br/>192.0.2.2"]',
        '    endpoint1_0["web.2.y<br/>10.0.1.6"]',
        "  end",
        "  service0 --> endpoint0_1",
        "  network --- host0",
        "  service0 --> endpoint1_0",
        "  network --- host1",
    ]


def test_names_cannot_break_out_of_a_drawing() -> None:
    graph = network_graph(overlay(Name='a"]<b>&#'), "alpha", NODES)
    assert '  network["a#quot;]#lt;b#gt;#amp;#35;<br/>overlay' in mermaid(graph)
    texts = [element.text for element in ET.fromstring(svg(graph)).iter("{http://www.w3.org/2000/svg}text")]
    assert 'a"]<b>&#' in texts


def test_the_picture_shows_everything_inside_its_edges() -> None:
    root = ET.fromstring(svg(network_graph(overlay(), "alpha", NODES)))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"shop", "web", "10.0.1.2", "alpha", "beta", "web.1.x", "web.2.y", "debug", "fd00::9"} <= set(texts)
    boxes = list(root.iter("{http://www.w3.org/2000/svg}rect"))
    assert all(float(box.get("y", 0)) + float(box.get("height", 0)) <= float(root.get("height", 0)) for box in boxes)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}line"))) == 2
