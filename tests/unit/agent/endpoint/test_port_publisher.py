"""Publishing: all ports of a container or none, and nothing left when it is taken back."""

import socket
from collections.abc import Collection, Iterator, Mapping

import pytest

from agent.container.model import PortBinding, PublishedPort
from agent.endpoint.loopback_ports import LoopbackPorts
from agent.endpoint.port_plan import ReachableContainer
from agent.endpoint.port_publisher import PortHost, PortPublisher
from agent.network import port_owner
from agent.network.bpf.loopback6 import LoopbackPort, LoopbackTarget
from agent.network.namespace_state import HOST, Fragment
from agent.network.port_registry import PortOwner, PortRegistry
from covey.errors import PortInUseError, UnavailableError

WEB, OTHER = PortOwner("1" * 64, "web"), PortOwner("2" * 64, "other")
CONTAINER = ReachableContainer(v4="172.18.0.2", device="br-1", subnets=("172.18.0.0/16",))


class Kernel:
    """Records what it is asked for."""

    def __init__(self) -> None:
        self.fragments: dict[str, Fragment] = {}
        self.loopback: Mapping[LoopbackPort, LoopbackTarget] = {}
        self.refuses = False
        self.ended: list[set[int]] = []

    async def put(self, key: str, fragment: Fragment) -> None:
        self.fragments[key] = fragment
        if self.refuses:
            raise UnavailableError("no nftables")

    async def drop(self, key: str) -> None:
        self.fragments.pop(key, None)

    def end_flows(self, ports: Collection[int]) -> None:
        self.ended.append(set(ports))

    def set_ports(self, wanted: Mapping[LoopbackPort, LoopbackTarget]) -> None:
        self.loopback = wanted


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def publisher(kernel: Kernel) -> Iterator[PortPublisher]:
    made = PortPublisher(
        "covey0", PortHost(PortRegistry(socket.socket, port_owner), kernel, LoopbackPorts(kernel), kernel.end_flows)
    )
    yield made
    made.close()


def to(*ports: str) -> dict[str, tuple[PortBinding, ...] | None]:
    return {f"{number}/sctp": (PortBinding(host_port=port),) for number, port in enumerate(ports, 80)}


async def test_ports_are_led_to_the_container_and_taken_back(publisher: PortPublisher, kernel: Kernel) -> None:
    bindings = {"80/tcp": (PortBinding(),), "53/sctp": (PortBinding(host_port="5300"),)}
    published = await publisher.publish(WEB, bindings, CONTAINER)
    drawn = published[1].host_port
    assert published[0] == PublishedPort(port="53/sctp", host_address="0.0.0.0", host_port=5300)
    (table,) = kernel.fragments[f"ports/{WEB.id}"][HOST].tables.values()
    assert table.sets["any4"].elements == {"sctp . 5300": "172.18.0.2 . 53", f"tcp . {drawn}": "172.18.0.2 . 80"}
    assert kernel.loopback == {LoopbackPort("tcp", drawn): LoopbackTarget("172.18.0.2", 80)}
    assert await publisher.publish(WEB, bindings, CONTAINER, published) == published
    await publisher.withdraw(WEB.id)
    assert (kernel.fragments, kernel.loopback) == ({}, {})
    assert await publisher.publish(OTHER, {"1/tcp": (PortBinding(host_port=str(drawn)),)}, CONTAINER)


async def test_two_ports_of_a_container_never_share_a_port_of_the_host(
    publisher: PortPublisher, kernel: Kernel
) -> None:
    twice = {f"{number}/sctp": (PortBinding(host_port="9000"),) for number in (80, 81)}
    with pytest.raises(PortInUseError, match=r"Bind for 0\.0\.0\.0:9000 failed: port is already allocated \(by web\)"):
        await publisher.publish(WEB, twice, CONTAINER)
    assert kernel.fragments == {}
    ranges = {f"{number}/sctp": (PortBinding(host_port="9000-9005"),) for number in (80, 81)}
    published = await publisher.publish(WEB, ranges, CONTAINER)
    assert [item.host_port for item in published] == [9000, 9001]
    assert await publisher.publish(WEB, ranges, CONTAINER) == published  # after a restart of the daemon
    same = {"80/sctp": (PortBinding(host_port="9100"), PortBinding(host_address="0.0.0.0", host_port="9100"))}
    assert [item.host_port for item in await publisher.publish(OTHER, same, CONTAINER)] == [9100]


async def test_a_taken_port_leaves_none_of_the_others(publisher: PortPublisher, kernel: Kernel) -> None:
    await publisher.publish(WEB, to("9000"), CONTAINER)
    with pytest.raises(PortInUseError, match="by web"):
        await publisher.publish(OTHER, to("9001", "9000"), CONTAINER)
    assert list(kernel.fragments) == [f"ports/{WEB.id}"]
    await publisher.publish(OTHER, to("9001"), CONTAINER)


async def test_a_refusal_of_the_kernel_leaves_nothing(publisher: PortPublisher, kernel: Kernel) -> None:
    kernel.refuses = True
    with pytest.raises(UnavailableError):
        await publisher.publish(WEB, to("9000"), CONTAINER)
    assert kernel.fragments == {}
    kernel.refuses = False
    await publisher.publish(OTHER, to("9000"), CONTAINER)


async def test_datagrams_to_a_port_end_where_it_is_published_and_where_it_is_taken_back(
    publisher: PortPublisher, kernel: Kernel
) -> None:
    await publisher.publish(WEB, {"53/udp": (PortBinding(host_port="5399"),), **to("9000")}, CONTAINER)
    assert kernel.ended == [{5399}]
    await publisher.withdraw(WEB.id)
    assert kernel.ended == [{5399}, {5399}]
