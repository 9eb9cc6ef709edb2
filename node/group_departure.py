"""Departure from the managers' group of a manager whose join failed.

Its manager process is a member of the group before the node has a session. Stopped as a member, it would cost the others a vote, and the
only other manager its quorum. Called by ``node.membership`` while the process still runs.
"""

import asyncio
import logging
from collections.abc import Iterable

import grpc

from agent.identity import NodeIdentity
from coveypb.v1 import raft_pb2, raft_pb2_grpc

DEPARTURE_SECONDS = 8.0
_RPC_SECONDS = 4.0
_ALREADY_OUT = {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED}
"""The node is no manager any more, or unknown; or the managers use etcd and have no group."""

log = logging.getLogger(__name__)


async def leave_group(identity: NodeIdentity, managers: Iterable[str]) -> None:
    """End the membership of this node's manager, if it has one. Asks the managers one after the other; logs if none could do it."""
    reason = "no manager is known"
    try:
        async with asyncio.timeout(DEPARTURE_SECONDS):
            for addr in managers:
                try:
                    async with identity.channel(addr) as channel:
                        request = raft_pb2.RaftLeaveRequest(node_id=identity.node_id)
                        await raft_pb2_grpc.RaftStub(channel).Leave(request, timeout=_RPC_SECONDS)
                except grpc.aio.AioRpcError as error:
                    reason = f"{addr}: {error.details()}"
                    if error.code() in _ALREADY_OUT:
                        return
                else:
                    return
    except TimeoutError:
        pass
    log.warning("this node's manager may still be a member of the cluster's managers; demote it there: %s", reason)
