"""Host probe: whether the hosts of managers that a new leader has not heard of are dead, from Raft messages and TCP connections.

Invariant: a host whose manager or agent listens is never silent. The kernel accepts connections for a process that hangs, is stopped, or
gets no CPU; only a dead process, or a dead or unreachable host, leaves both ports closed. One of the dispatcher's loops. See ADR 38.
"""

import asyncio
import contextlib
import errno
import socket
from enum import Enum, auto

import msgspec

from covey.clock import SECOND, Clock
from covey.states import NodeRole, NodeState
from covey.task_group import TaskGroup
from manager.health import HeartbeatTracker
from manager.store import Store, View

PROBE_SECONDS = 0.35
"""A live host answers within a round trip. A new attempt sends a new SYN, so a lost packet costs one attempt."""
SILENT_PROBES = 2
"""Unanswered attempts in succession after which a host is silent."""
_RAFT_SILENCE_SECONDS = 0.5
"""A manager that was heard within this time is alive; leaders and followers exchange messages more often."""


class Answer(Enum):
    """What a host does with a TCP connection."""

    ACCEPTED = auto()
    REFUSED = auto()
    NONE = auto()


class ManagerHost(msgspec.Struct, frozen=True):
    """A node whose host runs a manager. The addresses are HOST:PORT; ``agent_addr`` is empty if its agent accepts no connections."""

    node_id: str
    manager_addr: str
    agent_addr: str = ""


class HostProbe:
    """Watches the hosts of the other managers until their agents begin a session with this leader, or they are DOWN."""

    def __init__(self, store: Store, heartbeats: HeartbeatTracker, clock: Clock) -> None:
        self._store = store
        self._heartbeats = heartbeats
        self._clock = clock
        self._unanswered: dict[str, int] = {}

    async def run(self) -> None:
        """Probes until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            next_at = loop.time() + PROBE_SECONDS
            async with TaskGroup() as group:
                for host in unheard_managers(self._store.view(), self._heartbeats):
                    group.create_task(self._probe(host))
            await asyncio.sleep(next_at - loop.time())

    async def _probe(self, host: ManagerHost) -> None:
        silence = self._store.consensus.last_heard_seconds(host.node_id)
        if silence is None or silence < _RAFT_SILENCE_SECONDS or await _is_alive(host):
            self._unanswered.pop(host.node_id, None)
            self._heartbeats.record_answering_host(host.node_id)
            return
        count = self._unanswered[host.node_id] = self._unanswered.get(host.node_id, 0) + 1
        if count >= SILENT_PROBES:
            self._heartbeats.record_silent_host(host.node_id, self._clock() - int(silence * SECOND))


def unheard_managers(view: View, heartbeats: HeartbeatTracker) -> list[ManagerHost]:
    """The managers' hosts whose nodes are not DOWN and were not heard of under this leader."""
    return [
        ManagerHost(node.id, node.manager_status.addr, node.description.agent_addr)
        for node in view.nodes.by_role(NodeRole.MANAGER)
        if node.manager_status is not None
        and node.manager_status.addr
        and node.status.state is not NodeState.DOWN
        and not heartbeats.has_heartbeat(node.id)
    ]


def shows_life(manager: Answer, agent: Answer | None) -> bool:
    """Whether the node may be alive, given the answers of its manager's and its agent's port; None: the agent has none.

    A refusal says that the process has ended. Without a port of the agent it may still be alive, so the host must answer nothing at all.
    """
    if Answer.ACCEPTED in {manager, agent}:
        return True
    return agent is None and manager is Answer.REFUSED


async def _is_alive(host: ManagerHost) -> bool:
    async with TaskGroup() as group:
        manager = group.create_task(connect(host.manager_addr))
        agent = group.create_task(connect(host.agent_addr)) if host.agent_addr else None
    return shows_life(manager.result(), agent.result() if agent is not None else None)


async def connect(addr: str, seconds: float = PROBE_SECONDS) -> Answer:
    """What the host at HOST:PORT does with a connection in time. An address that cannot be tried counts as accepting."""
    host, _, port = addr.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
        except TimeoutError:
            return _answer_so_far(connection)
        except OSError as error:
            return _answer_of(error.errno)
        except ValueError:
            return Answer.ACCEPTED
    return Answer.ACCEPTED


def _answer_so_far(connection: socket.socket) -> Answer:
    """The answer that arrived while this process was late."""
    with contextlib.suppress(OSError):
        connection.getpeername()
        return Answer.ACCEPTED
    return _answer_of(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def _answer_of(number: int | None) -> Answer:
    """The answer behind an errno. An error of this host says nothing about the other, so it counts as accepting."""
    if number in {errno.ECONNREFUSED, errno.ECONNRESET}:
        return Answer.REFUSED
    silent = {0, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.EINPROGRESS}
    return Answer.NONE if number in silent else Answer.ACCEPTED
