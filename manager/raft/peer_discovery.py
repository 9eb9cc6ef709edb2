"""Peer discovery: a manager without a leader announces its address to the managers named in its configuration.

Invariant: it only tells who and where it is. A peer that knows this member then answers to the right address; a peer
that removed it says so. So a group in which all addresses changed at once reconnects. Called by `backend`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import grpc
from grpc import aio

from coveypb.v1 import raft_pb2, raft_pb2_grpc
from manager.raft.node import RaftNode
from manager.raft.peer import Credentials, connected_channel

log = logging.getLogger(__name__)

_PERIOD_SECONDS = 1.0
_ANSWER_SECONDS = 3.0
_CHECKS_WITHOUT_LEADER = 3
"""Number of checks without a leader before the search starts; an election takes less time."""


async def discover_peers(node: RaftNode, addrs: Sequence[str], credentials: Credentials, own_addr: str) -> None:
    """Announces this node to the given addresses whenever it has no leader. Runs until cancelled, or until a peer says that this
    node was removed.
    """
    checks_without_leader = 0
    while True:
        await asyncio.sleep(_PERIOD_SECONDS)
        checks_without_leader = 0 if node.leadership.leader_id else checks_without_leader + 1
        if checks_without_leader < _CHECKS_WITHOUT_LEADER:
            continue
        for addr in addrs:
            if addr == own_addr:
                continue
            try:
                await _announce(node, addr, credentials, own_addr)
            except (aio.AioRpcError, TimeoutError) as error:
                if isinstance(error, aio.AioRpcError) and error.code() is grpc.StatusCode.NOT_FOUND:
                    log.warning("the manager at %s reports that this manager was removed: %s", addr, error.details())
                    node.report_removed()
                    return
                log.debug("no manager answers at %s: %r", addr, error)


async def _announce(node: RaftNode, addr: str, credentials: Credentials, own_addr: str) -> None:
    """Announces this node to one manager. Raises AioRpcError, TimeoutError."""
    own = node.identity
    batch = raft_pb2.RaftBatch(cluster_id=own.cluster_id, sender=own.raft_id, addr=own_addr)
    async with connected_channel(addr, credentials) as channel:
        call: Any = raft_pb2_grpc.RaftStub(channel).Exchange(timeout=_ANSWER_SECONDS)
        await call.write(batch)
        await call.done_writing()
        await call
