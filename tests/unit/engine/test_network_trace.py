"""The view of the cluster that a trace is asked of."""

from __future__ import annotations

from typing import Any

from covey.objects import (
    Annotations,
    ContainerStatus,
    Endpoint,
    Network,
    NetworkAttachment,
    NetworkSpec,
    Node,
    NodeDescription,
    NodeStatus,
    PortConfig,
    Service,
    ServiceSpec,
    Task,
    TaskStatus,
    VirtualIP,
)
from covey.states import PublishMode, TaskState
from engine.translate.network_trace import cluster_view, own_host

NODES = [
    Node(id="n1", description=NodeDescription(hostname="one"), status=NodeStatus(addr="192.0.2.1")),
    Node(id="n2", description=NodeDescription(hostname="twin"), status=NodeStatus(addr="192.0.2.2")),
    Node(id="n3", description=NodeDescription(hostname="twin"), status=NodeStatus(addr="192.0.2.3")),
]
NETWORKS = [Network(id=name, vni=4097, spec=NetworkSpec(annotations=Annotations(name=name))) for name in ("a", "b")]


def task(identity: str, network: str, **fields: Any) -> Task:
    known: dict[str, Any] = {
        "id": identity,
        "node_id": "n1",
        "desired_state": TaskState.RUNNING,
        "status": TaskStatus(state=TaskState.RUNNING, container=ContainerStatus(container_id=f"c-{identity}")),
        "networks": (NetworkAttachment(network_id=network, address="10.0.1.5/24", address6="fd00::5/64"),),
    }
    return Task(**{**known, **fields})


def test_tasks_services_and_hosts_are_known_by_their_names() -> None:
    service = Service(
        id="s",
        spec=ServiceSpec(annotations=Annotations(name="web")),
        endpoint=Endpoint(
            virtual_ips=(VirtualIP(network_id="a", address="10.0.1.2/24"),),
            ports=(
                PortConfig(published_port=8080, target_port=80),
                PortConfig(published_port=8081, target_port=80, publish_mode=PublishMode.HOST),
            ),
        ),
    )
    running = task("t", "a", service_id="s", slot=2, service_annotations=Annotations(name="web"))
    leaving = task("l", "a", service_id="s", slot=1, desired_state=TaskState.SHUTDOWN)
    ended = task("e", "a", status=TaskStatus(state=TaskState.COMPLETE))
    view = cluster_view(NODES, NETWORKS, [service], [running, leaving, ended])
    first, second = view.endpoints
    assert (first.name, first.host, set(first.names)) == ("web.2.t", "one", {"web.2.t", "web.2", "t"})
    assert (first.addresses_on("a"), first.ready, second.ready) == (("10.0.1.5", "fd00::5"), True, False)
    assert view.services[0].vips == {"a": ("10.0.1.2",)}
    assert view.services[0].published == ("tcp 8080",)


def test_hosts_with_the_same_name_are_told_apart_by_their_ids() -> None:
    view = cluster_view(NODES, [], [], [])
    assert {name: host.address for name, host in view.hosts.items()} == {
        "one": "192.0.2.1",
        "n2": "192.0.2.2",
        "n3": "192.0.2.3",
    }
    assert (own_host(view, "n3", "twin"), own_host(view, "n1", "one"), own_host(view, "", "alone")) == (
        "n3",
        "one",
        "alone",
    )


def test_a_single_container_on_two_networks_is_one_endpoint() -> None:
    tasks = [
        task(name, name, attached_container_id="single", annotations=Annotations(name="db")) for name in ("a", "b")
    ]
    (found,) = cluster_view(NODES, NETWORKS, [], tasks).endpoints
    assert (found.name, found.container_id) == ("db", "single")
    assert [one.network for one in found.attachments] == ["a", "b"]
