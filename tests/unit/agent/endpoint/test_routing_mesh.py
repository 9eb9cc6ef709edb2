"""The routing mesh and other programs of the node: who has a port keeps it, and the mesh takes over once it is free."""

import socket
from collections.abc import Collection, Mapping

from agent.endpoint.loopback_ports import LoopbackPorts
from agent.endpoint.port_publisher import PortHost
from agent.endpoint.routing_mesh import RoutingMesh
from agent.network import port_owner
from agent.network.mesh_state import EndedFlows, MeshHost
from agent.network.namespace_state import Fragment
from agent.network.port_registry import PortRegistry
from covey.errors import CoveyError
from covey.objects import IPAM, IPAMConfig, Network, NetworkSpec, PortConfig
from covey.objects.assignment import AssignmentChange, AssignmentKind, NetworkEndpoint, NodeEndpoint, VirtualService


class Kernel:
    """Keeps the fragments that it is asked for."""

    def __init__(self) -> None:
        self.fragments: dict[str, Fragment] = {}

    async def put_many(self, fragments: Mapping[str, Fragment | None]) -> Mapping[str, CoveyError]:
        for key, fragment in fragments.items():
            self.fragments.pop(key, None)
            if fragment is not None:
                self.fragments[key] = fragment
        return {}

    async def put(self, key: str, fragment: Fragment) -> None:
        await self.put_many({key: fragment})

    async def drop(self, key: str) -> None:
        await self.put_many({key: None})

    def end_flows(self, ports: Collection[int]) -> None:
        raise AssertionError(ports)


def assignments(port: int) -> list[AssignmentChange]:
    network = Network(
        id="ing", spec=NetworkSpec(ingress=True), ipam=IPAM(configs=(IPAMConfig(subnet="10.0.0.0/24"),)), vni=4095, allocated=True
    )  # fmt: skip
    node = NodeEndpoint(
        id="n1/ing", network_id="ing", node_id="n1", host="192.0.2.1", address="10.0.0.1", mac="02:42:0a:00:00:01"
    )
    task = NetworkEndpoint(
        id="t/ing", network_id="ing", task_id="t", node_id="n1", host="192.0.2.1", address="10.0.0.9", service_id="web", ready=True
    )  # fmt: skip
    ports = (PortConfig(target_port=80, published_port=port),)
    service = VirtualService(id="web/ing", network_id="ing", service_id="web", name="web", ports=ports)
    items = (
        (AssignmentKind.NETWORK, network),
        (AssignmentKind.NODE_ENDPOINT, node),
        (AssignmentKind.ENDPOINT, task),
        (AssignmentKind.VIRTUAL_SERVICE, service),
    )
    return [AssignmentChange(kind=kind, id=item.id, item=item) for kind, item in items]


async def test_a_port_of_another_program_is_left_to_it_and_taken_over_once_it_is_free() -> None:
    """The plan of the refused port was forgotten: the node did not answer until the service changed."""
    kernel, ended = Kernel(), list[EndedFlows]()
    registry = PortRegistry(socket.socket, port_owner)
    ports = PortHost(registry, kernel, LoopbackPorts(), kernel.end_flows)
    mesh = RoutingMesh(MeshHost(prefix="covey0", host="192.0.2.1"), ports, kernel, ended.append)
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))  # noqa: S104 - the mesh asks for all addresses
        port = int(other.getsockname()[1])
        await mesh.apply(assignments(port))
        (warning,) = mesh.warnings
        assert f"does not answer on port {port}/tcp of service web" in warning
        assert f"mesh/port/tcp/{port}" not in kernel.fragments
        await mesh.settle()  # tried again, and still taken
    await mesh.settle()
    assert mesh.warnings == ()
    assert f"mesh/port/tcp/{port}" in kernel.fragments
    registry.close()
