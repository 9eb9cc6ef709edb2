"""Whether the managers' group still decides, as this node's own manager sees it.

Law: asked before the group is founded anew, for two groups would be two clusters, and the new one ends the memberships of the old. Who
does not answer decides nothing; but a moment without a leader is none: an election passes, and so does a manager's start. Called by
``node.membership``.
"""

import asyncio
import enum
from pathlib import Path
from typing import Any

import grpc

from covey.errors import ConflictError
from coveypb.v1 import control_pb2, control_pb2_grpc

PATIENCE_SECONDS = 6.0
"""A manager whose peers have just died believes in them for up to two seconds more."""
QUIET_SECONDS = 4.0
"""A group that still decides elects in less, whatever happened to its leader."""
_ASK_SECONDS = 2.0
_PAUSE_SECONDS = 0.2


class Sight(enum.Enum):
    """What this node's manager says of its group."""

    ALONE = "it is the only manager"
    LED = "a leader of several"
    LEADERLESS = "no leader"
    SILENT = "it does not answer"


class Patience:
    """What was seen since when. Pure."""

    def __init__(self, now: float) -> None:
        self._until = now + PATIENCE_SECONDS
        self._since = now
        self._sight: Sight | None = None

    def decide(self, sight: Sight, now: float) -> bool | None:
        """True: nobody decides any more; False: somebody does; None: look again."""
        if sight is not self._sight:
            self._sight, self._since = sight, now
        match sight:
            case Sight.ALONE:
                return True
            case Sight.LED:
                return False if now > self._until else None
            case Sight.LEADERLESS | Sight.SILENT:
                quiet = now - self._since >= QUIET_SECONDS or now > self._until + 2 * QUIET_SECONDS
                return True if quiet else None


async def refuse_while_it_decides(manager_socket: Path) -> None:
    """Returns once this node's manager has seen no leader for a while, or did not answer, or is the only one.

    Raises:
        ConflictError: a majority of several managers still answers.
    """
    loop = asyncio.get_running_loop()
    patience = Patience(loop.time())
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


def _sight(status: Any | None) -> Sight:
    if status is None:
        return Sight.SILENT
    if len(status.managers) < 2:
        return Sight.ALONE
    return Sight.LED if status.leader_raft_id else Sight.LEADERLESS


async def _status(manager_socket: Path) -> Any | None:
    if not manager_socket.exists():
        return None
    async with grpc.aio.insecure_channel(f"unix:{manager_socket}") as channel:
        stub = control_pb2_grpc.ControlStub(channel)
        try:
            return await stub.Status(control_pb2.ManagerStatusRequest(), timeout=_ASK_SECONDS)
        except grpc.aio.AioRpcError:
            return None
