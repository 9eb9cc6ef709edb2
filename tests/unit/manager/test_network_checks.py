"""Checks of the cluster's networks: every node is in the answer, with what it found or why it did not answer."""

from __future__ import annotations

import asyncio

import pytest

from covey.errors import InvalidArgumentError, UnavailableError
from covey.objects import Node, NodeDescription, NodeStatus
from covey.states import NodeState
from coveypb.v1 import control_pb2, dispatcher_pb2
from manager.network_checks import MAX_CONCURRENT_CHECKS, MAX_READ_NAMESPACES, MAX_READ_NODES, NetworkChecks
from manager.store import MemoryConsensus, Store


class Nodes:
    """The nodes of a cluster: `sent` is what each was asked; those that are `away` have no session."""

    def __init__(self) -> None:
        self.sent: dict[str, dispatcher_pb2.CheckNetworks] = {}
        self.away: set[str] = set()
        self.asked = asyncio.Event()

    def send(self, node_id: str, message: dispatcher_pb2.ManagerMessage) -> bool:
        self.sent[node_id] = message.check_networks
        self.asked.set()
        return node_id not in self.away


async def cluster(**states: NodeState) -> tuple[NetworkChecks, Nodes]:
    store, nodes = Store(MemoryConsensus), Nodes()
    for name, state in states.items():
        node = Node(id=name, status=NodeStatus(state=state), description=NodeDescription(hostname=f"host-{name}"))
        await store.update(lambda tx, node=node: tx.create(node))
    checks = NetworkChecks(store)
    checks.bind(nodes.send)
    return checks, nodes


def errors(answer: control_pb2.CheckNetworksResponse) -> dict[str, str]:
    return {node.hostname: node.result.error for node in answer.nodes}


async def test_differences_come_back_by_node() -> None:
    checks, nodes = await cluster(b=NodeState.READY, a=NodeState.READY)
    running = asyncio.create_task(checks.check(repair=True, seconds=5))
    await nodes.asked.wait()
    assert all(message.repair for message in nodes.sent.values())
    found = dispatcher_pb2.NetworkDifference(namespace="host", kind="missing", item="route")
    for name, request in nodes.sent.items():
        result = dispatcher_pb2.NetworkCheckResult(
            check_id=request.check_id, differences=[found] if name == "b" else []
        )
        checks.finish(
            "a" if name == "b" else "stranger", result
        )  # not the node that was asked: the first answer of a counts
        checks.finish(name, result)
    answer = await running
    assert [node.hostname for node in answer.nodes] == ["host-a", "host-b"]
    assert list(answer.nodes[1].result.differences) == [found]


async def test_nodes_that_are_down_away_or_late_are_named() -> None:
    checks, nodes = await cluster(a=NodeState.DOWN, b=NodeState.READY, c=NodeState.READY, d=NodeState.READY)
    nodes.away = {"b"}
    running = asyncio.create_task(checks.check(repair=False, seconds=0.2))
    await nodes.asked.wait()
    checks.forget("c")
    assert errors(await running) == {
        "host-a": "is down",
        "host-b": "is not connected",
        "host-c": "lost its session with the manager while it checked its networks",
        "host-d": "did not answer within 0 s",
    }
    assert set(nodes.sent) == {"b", "c", "d"}


async def test_a_node_with_a_new_session_is_asked_again() -> None:
    checks, nodes = await cluster(a=NodeState.READY)
    running = asyncio.create_task(checks.check(repair=True, seconds=5))
    await nodes.asked.wait()
    lost = nodes.sent.pop("a")
    checks.ask_again("a")
    assert nodes.sent == {"a": lost}
    checks.finish("a", dispatcher_pb2.NetworkCheckResult(check_id=lost.check_id))
    assert errors(await running) == {"host-a": ""}
    nodes.sent.clear()
    checks.ask_again("a")
    assert nodes.sent == {}


async def test_too_many_checks_at_once_are_refused() -> None:
    checks, _ = await cluster(a=NodeState.READY)
    running = [asyncio.create_task(checks.check(repair=False, seconds=5)) for _ in range(MAX_CONCURRENT_CHECKS)]
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError, match="in progress"):
        await checks.check(repair=False, seconds=5)
    checks.forget("a")
    await asyncio.gather(*running)
    assert errors(await checks.check(repair=False, seconds=0.01)) == {"host-a": "did not answer within 0 s"}


async def test_kernels_are_read_on_a_few_named_nodes_only() -> None:
    checks, nodes = await cluster(a=NodeState.READY, b=NodeState.READY)
    running = asyncio.create_task(checks.check(seconds=5, node_ids=["b"], namespaces=["network/x", "host"]))
    await nodes.asked.wait()
    assert list(nodes.sent["b"].namespaces) == ["host", "network/x"]
    assert "a" not in nodes.sent
    check_id = nodes.sent["b"].check_id
    checks.finish("b", dispatcher_pb2.NetworkCheckResult(check_id=check_id, reading=b"read"))
    assert [(node.node_id, node.result.reading) for node in (await running).nodes] == [("b", b"read")]


@pytest.mark.parametrize(
    ("node_ids", "namespaces"),
    [((), 1), ([str(number) for number in range(MAX_READ_NODES + 1)], 1), (("a",), MAX_READ_NAMESPACES + 1)],
)
async def test_a_reading_that_would_be_too_large_is_refused(node_ids: list[str], namespaces: int) -> None:
    checks, nodes = await cluster(a=NodeState.READY)
    keys = [f"network/{number}" for number in range(namespaces)]
    with pytest.raises(InvalidArgumentError, match="1 to 4 nodes"):
        await checks.check(seconds=5, node_ids=node_ids, namespaces=keys)
    assert not nodes.sent
