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
from manager.bootstrap.manager_probe import managers_at

OBSERVATION_SECONDS = 6.0
"""A manager whose peers have just died believes in them for up to two seconds more."""
LEADERLESS_SECONDS = 4.0
"""A group that still decides elects in less, whatever happened to its leader."""
UNANSWERED_PEER = (
    "the manager at {addr} lives, but does not tell this node whether the cluster goes on{why}: a new cluster beside it might tear it in "
    'two. If it works, use "docker swarm leave --force" here and join again. If it does not, switch that manager off first'
)
_ASK_SECONDS = 2.0
_PAUSE_SECONDS = 0.2


class QuorumObservation(enum.Enum):
    """What this node's manager says of its group."""

    ALONE = "it is the only manager"
    LED = "a leader of several"
    LEADERLESS = "no leader"
    SILENT = "it does not answer"


class QuorumLossDetector:
    """What was seen since when. Pure."""

    def __init__(self, now: float) -> None:
        self._until = now + OBSERVATION_SECONDS
        self._since = now
        self._sight: QuorumObservation | None = None

    def decide(self, observation: QuorumObservation, now: float) -> bool | None:
        """True: nobody decides any more; False: somebody does; None: look again."""
        if observation is not self._sight:
            self._sight, self._since = observation, now
        match observation:
            case QuorumObservation.ALONE:
                return True
            case QuorumObservation.LED:
                return False if now > self._until else None
            case QuorumObservation.LEADERLESS | QuorumObservation.SILENT:
                quiet = now - self._since >= LEADERLESS_SECONDS or now > self._until + 2 * LEADERLESS_SECONDS
                return True if quiet else None


async def refuse_unless_quorum_lost(manager_socket: Path) -> None:
    """Returns once this node's manager has seen no leader for a while, or did not answer, or is the only one.

    Raises:
        ConflictError: a majority of several managers still answers.
    """
    loop = asyncio.get_running_loop()
    patience = QuorumLossDetector(loop.time())
    while True:
        status = await _status(manager_socket)
        decided = patience.decide(_sight(status), loop.time())
        if decided:
            return
        if decided is False and status is not None:
            count = len(status.managers)
            raise ConflictError(
                f"the cluster has a leader ({status.leader_addr}), so at least {count // 2 + 1} of its {count} managers answer: a new "
                'cluster beside it would tear it in two. To take a manager out, use "docker node demote"; to take this node out, '
                '"docker swarm leave --force" here'
            )
        await asyncio.sleep(_PAUSE_SECONDS)


async def refuse_if_peers_have_leader(identity: NodeIdentity, managers: Iterable[str]) -> None:
    """Returns if none of the managers at these addresses follows a leader, or leads, unless that is this node. Who shows nothing of itself
    within 2 s follows nobody.

    Raises:
        ConflictError: one does, or lives and does not tell.
    """
    addrs = tuple(dict.fromkeys(managers))
    asking = asyncio.gather(*(_asked(identity, addr) for addr in addrs))
    living, statuses = await asyncio.gather(managers_at(addrs, identity.cluster_id), asking)
    for addr, status in zip(addrs, statuses, strict=True):
        if status is None and living.get(addr, identity.node_id) != identity.node_id:
            raise ConflictError(UNANSWERED_PEER.format(addr=addr, why=_why(identity)))
        if status is not None and status.leader_raft_id and status.leader_node_id != identity.node_id:
            raise ConflictError(
                f"the manager at {addr} follows a leader ({status.leader_addr or 'of unknown address'}), which this node does not: the "
                "cluster goes on without this node, and a new cluster beside it would tear it in two. See to this host's network and its "
                'manager; or use "docker swarm leave --force" here and join again. If that cluster is to end, switch its managers off first'
            )


def _why(identity: NodeIdentity) -> str:
    """What keeps others from answering this node, as far as it can be told here."""
    now = wall_clock()
    if identity.not_before_ns <= now < identity.not_after_ns:
        return ""
    state = "has expired" if now >= identity.not_after_ns else "is not valid yet"
    return f", for this node's certificate {state} by this host's clock"


async def _asked(identity: NodeIdentity, addr: str) -> Any | None:
    async with identity.channel(addr) as channel:
        return await _status_by(channel)


def _sight(status: Any | None) -> QuorumObservation:
    if status is None:
        return QuorumObservation.SILENT
    if len(status.managers) < 2:
        return QuorumObservation.ALONE
    return QuorumObservation.LED if status.leader_raft_id else QuorumObservation.LEADERLESS


async def _status(manager_socket: Path) -> Any | None:
    if not manager_socket.exists():
        return None
    async with grpc.aio.insecure_channel(f"unix:{manager_socket}") as channel:
        return await _status_by(channel)


async def _status_by(channel: grpc.aio.Channel) -> Any | None:
    stub = control_pb2_grpc.ControlStub(channel)
    try:
        return await stub.Status(control_pb2.ManagerStatusRequest(), timeout=_ASK_SECONDS)
    except grpc.aio.AioRpcError:
        return None
