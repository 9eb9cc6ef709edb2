"""Quorum check before a forced new cluster: detects whether the managers still have a leader.

Invariant: a forced new cluster is refused while the old one may still work, because two clusters would exist and the new one would remove
the members of the old. A manager that does not answer counts as having no leader; a short time without one, as during an election or a
start, does not count. This node's own manager may be cut off or dead, so the other managers are asked too. One that is alive but rejects
this node's certificate may belong to a working cluster. Called by ``node.membership``.
"""

import asyncio
import enum
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc

from agent.identity import NodeIdentity
from covey.clock import wall_clock
from covey.errors import ConflictError
from coveypb.v1 import control_pb2, control_pb2_grpc
from manager.interface import managers_at

OBSERVATION_SECONDS = 6.0
"""A manager whose peers have just failed still reports a leader for up to two seconds."""
LEADERLESS_SECONDS = 4.0
"""A group with a quorum elects a leader in less time."""
UNANSWERED_PEER = (
    "the manager at {addr} is alive, but does not tell this node whether the cluster still works{why}: a new cluster could split it in "
    'two. If it works, use "swarm leave --force" here and join again. If it does not, stop that manager first'
)
_RPC_SECONDS = 2.0
_POLL_SECONDS = 0.2


class QuorumObservation(enum.Enum):
    """What this node's manager reports of its Raft group."""

    ALONE = "it is the only manager"
    LED = "a leader of several"
    LEADERLESS = "no leader"
    SILENT = "it does not answer"


class QuorumLossDetector:
    """Decides from repeated observations whether the quorum is lost. Pure."""

    def __init__(self, now: float) -> None:
        self._observe_until = now + OBSERVATION_SECONDS
        self._since = now
        self._observation: QuorumObservation | None = None

    def decide(self, observation: QuorumObservation, now: float) -> bool | None:
        """True: the quorum is lost; False: there is a leader; None: observe again."""
        if observation is not self._observation:
            self._observation, self._since = observation, now
        match observation:
            case QuorumObservation.ALONE:
                return True
            case QuorumObservation.LED:
                return False if now > self._observe_until else None
            case QuorumObservation.LEADERLESS | QuorumObservation.SILENT:
                is_over = now > self._observe_until + 2 * LEADERLESS_SECONDS
                return True if is_over or now - self._since >= LEADERLESS_SECONDS else None


async def refuse_unless_quorum_lost(manager_socket: Path) -> None:
    """Return once this node's manager has seen no leader for a while, does not answer, or is the only one.

    Raises:
        ConflictError: a majority of several managers still answers.
    """
    loop = asyncio.get_running_loop()
    detector = QuorumLossDetector(loop.time())
    while True:
        status = await _own_status(manager_socket)
        lost = detector.decide(_observation(status), loop.time())
        if lost:
            return
        if lost is False and status is not None:
            count = len(status.managers)
            raise ConflictError(
                f"the cluster has a leader ({status.leader_addr}), so at least {count // 2 + 1} of its {count} managers answer, and a new "
                'cluster would split it in two. To remove a manager, use "node demote"; to remove this node, use '
                '"swarm leave --force" here'
            )
        await asyncio.sleep(_POLL_SECONDS)


async def refuse_if_peers_have_leader(identity: NodeIdentity, managers: Iterable[str]) -> None:
    """Return if none of the managers at these addresses has a leader other than this node. A manager that does not answer within 2 s
    counts as having none.

    Raises:
        ConflictError: one has a leader, or is alive and does not report.
    """
    addrs = tuple(dict.fromkeys(managers))
    statuses_task = asyncio.gather(*(_peer_status(identity, addr) for addr in addrs))
    alive, statuses = await asyncio.gather(managers_at(addrs, identity.cluster_id), statuses_task)
    for addr, status in zip(addrs, statuses, strict=True):
        if status is None and alive.get(addr, identity.node_id) != identity.node_id:
            raise ConflictError(UNANSWERED_PEER.format(addr=addr, why=_certificate_problem(identity)))
        if status is not None and status.leader_raft_id and status.leader_node_id != identity.node_id:
            raise ConflictError(
                f"the manager at {addr} follows a leader ({status.leader_addr or 'of unknown address'}), and this node does not: the "
                "cluster works without this node, and a new cluster would split it in two. Check this host's network and its manager; "
                'or use "swarm leave --force" here and join again. If that cluster must end, stop its managers first'
            )


def _certificate_problem(identity: NodeIdentity) -> str:
    """Why other managers may reject this node's certificate, as far as this host can tell."""
    now = wall_clock()
    if identity.not_before_ns <= now < identity.not_after_ns:
        return ""
    state = "has expired" if now >= identity.not_after_ns else "is not valid yet"
    return f", because this node's certificate {state} by this host's clock"


def _observation(status: Any | None) -> QuorumObservation:
    if status is None:
        return QuorumObservation.SILENT
    if len(status.managers) < 2:
        return QuorumObservation.ALONE
    return QuorumObservation.LED if status.leader_raft_id else QuorumObservation.LEADERLESS


async def _peer_status(identity: NodeIdentity, addr: str) -> Any | None:
    async with identity.channel(addr) as channel:
        return await _status(channel)


async def _own_status(manager_socket: Path) -> Any | None:
    if not manager_socket.exists():
        return None
    async with grpc.aio.insecure_channel(f"unix:{manager_socket}") as channel:
        return await _status(channel)


async def _status(channel: grpc.aio.Channel) -> Any | None:
    stub = control_pb2_grpc.ControlStub(channel)
    try:
        return await stub.Status(control_pb2.ManagerStatusRequest(), timeout=_RPC_SECONDS)
    except grpc.aio.AioRpcError:
        return None
