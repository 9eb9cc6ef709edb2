"""Host probe: a host whose manager or agent listens is alive, whatever they do with the connection."""

import asyncio
import socket

import pytest

from covey.objects import ManagerStatus, Node, NodeDescription, replace
from covey.states import NodeRole, NodeState
from manager.dispatcher.host_probe import Answer, ManagerHost, connect, shows_life, unheard_managers
from manager.health import HeartbeatTracker
from tests.support.planning import NOW, node, view_of


def manager(node_id: str, state: NodeState = NodeState.READY) -> Node:
    made = node(node_id)
    return replace(
        made,
        role=NodeRole.MANAGER,
        status=replace(made.status, state=state),
        description=NodeDescription(agent_addr="192.0.2.7:7946"),
        manager_status=ManagerStatus(raft_id=1, addr="192.0.2.7:2378"),
    )


async def test_a_host_that_accepts_is_alive_even_if_nobody_reads_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert await connect(f"127.0.0.1:{listener.getsockname()[1]}") is Answer.ACCEPTED


async def test_a_refusal_is_told_from_silence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert await connect(f"127.0.0.1:{port}") is Answer.REFUSED
    assert await connect(f"[::1]:{port}") is Answer.REFUSED


async def test_silence_costs_a_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        # A full backlog drops every further SYN, as a dead host does.
        addr = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(addr)
        started = asyncio.get_running_loop().time()
        assert await connect(f"127.0.0.1:{addr[1]}", 0.2) is Answer.NONE
        assert asyncio.get_running_loop().time() - started < 5
        for client in waiting:
            client.close()


@pytest.mark.parametrize(
    ("of_manager", "of_agent", "alive"),
    [
        (Answer.ACCEPTED, Answer.REFUSED, True),  # the manager hangs, or its daemon restarts
        (Answer.REFUSED, Answer.ACCEPTED, True),  # the manager crashed, the agent looks for the new leader
        (Answer.NONE, Answer.ACCEPTED, True),
        (Answer.REFUSED, Answer.REFUSED, False),  # everything on the host was killed
        (Answer.NONE, Answer.NONE, False),  # the host has no power, or no network
        (Answer.REFUSED, None, True),  # the agent may be alive, and nobody can tell
        (Answer.NONE, None, False),
    ],
)
def test_a_node_is_dead_only_if_neither_of_its_processes_can_be_alive(
    of_manager: Answer, of_agent: Answer | None, *, alive: bool
) -> None:
    assert shows_life(of_manager, of_agent) is alive


def test_only_managers_that_were_not_heard_of_and_are_not_down_are_probed() -> None:
    heartbeats = HeartbeatTracker(NOW + 2 * 10**9)
    heartbeats.record_heartbeat("heard", NOW)
    view = view_of(manager("unheard"), manager("heard"), manager("down", NodeState.DOWN), node("worker"))
    assert unheard_managers(view, heartbeats) == [ManagerHost("unheard", "192.0.2.7:2378", "192.0.2.7:7946")]
