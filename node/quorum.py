"""Whether the managers' group still decides, as this node's own manager sees it.

Law: asked before the group is founded anew, for two groups would be two clusters. Who does not answer decides nothing. Called by
``node.membership``.
"""

import asyncio
from pathlib import Path
from typing import Any

import grpc

from covey.errors import ConflictError
from coveypb.v1 import control_pb2, control_pb2_grpc

PATIENCE_SECONDS = 6.0
"""A manager whose peers have just died believes in them for up to two seconds more."""
_ASK_SECONDS = 2.0
_PAUSE_SECONDS = 0.2


async def refuse_while_it_decides(manager_socket: Path) -> None:
    """Returns once this node's manager sees no leader, does not answer, or is the only one.

    Raises:
        ConflictError: a majority of several managers still answers.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_SECONDS
    while True:
        status = await _status(manager_socket)
        if status is None or not status.leader_raft_id or len(status.managers) < 2:
            return
        if loop.time() > deadline:
            count = len(status.managers)
            raise ConflictError(
                f"the cluster has a leader ({status.leader_addr}), so at least {count // 2 + 1} of its {count} managers answer: a new "
                'cluster beside it would tear it in two. To take a manager out, use "docker node demote"; to take this node out, '
                '"docker swarm leave --force" here'
            )
        await asyncio.sleep(_PAUSE_SECONDS)


async def _status(manager_socket: Path) -> Any | None:
    if not manager_socket.exists():
        return None
    async with grpc.aio.insecure_channel(f"unix:{manager_socket}") as channel:
        stub = control_pb2_grpc.ControlStub(channel)
        try:
            return await stub.Status(control_pb2.ManagerStatusRequest(), timeout=_ASK_SECONDS)
        except grpc.aio.AioRpcError:
            return None
