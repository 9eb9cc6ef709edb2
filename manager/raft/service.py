"""The Raft service: what peers, joining managers and leaving ones call on the mTLS port.

Law: takes messages of its own cluster alone, and only whole snapshots within a bound. Who may call at all is the listener's matter
(``manager.authorize``). Join and Leave are done by the leader; any member passes them on, once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc
from grpc import aio

from covey.errors import CoveyError, DeadlineError, InvalidArgumentError, TooLargeError, UnavailableError
from covey.grpc_errors import from_code
from coveypb.v1 import raft_pb2, raft_pb2_grpc
from manager.raft.core import MessageKind
from manager.raft.node import RaftNode
from manager.raft.peer import Credentials, connection
from manager.raft.wire import member_to_wire, message_from_wire
from manager.store.consensus import NotLeaderError

MAX_SNAPSHOT_BYTES = 1 << 30
FORWARD_SECONDS = 20.0
_FORWARDED = "covey-forwarded"

R = TypeVar("R")


class RaftService(raft_pb2_grpc.RaftServicer):
    """Raises ``covey.errors``; the listener's interceptor turns them into statuses."""

    def __init__(self, node: RaftNode, credentials: Credentials) -> None:
        self._node = node
        self._credentials = credentials

    async def Exchange(  # noqa: N802 - the service's own name
        self,
        request_iterator: AsyncIterator[raft_pb2.RaftBatch],
        context: aio.ServicerContext[Any, Any],  # noqa: ARG002 - gRPC passes it
    ) -> raft_pb2.RaftExchangeResponse:
        async for batch in request_iterator:
            self._require_own(batch.cluster_id)
            for wire in batch.messages:
                message = message_from_wire(wire)
                if message is not None and message.kind is not MessageKind.SNAPSHOT:
                    self._node.receive(message)
        return raft_pb2.RaftExchangeResponse()

    async def SendSnapshot(  # noqa: N802 - the service's own name
        self,
        request_iterator: AsyncIterator[raft_pb2.RaftSnapshotChunk],
        context: aio.ServicerContext[Any, Any],  # noqa: ARG002 - gRPC passes it
    ) -> raft_pb2.RaftExchangeResponse:
        data = bytearray()
        head: raft_pb2.RaftMessage | None = None
        complete = False
        async for chunk in request_iterator:
            self._require_own(chunk.cluster_id)
            if head is None:
                head = chunk.message
            data += chunk.data
            if len(data) > MAX_SNAPSHOT_BYTES:
                raise TooLargeError(f"the snapshot is over the bound of {MAX_SNAPSHOT_BYTES} bytes")
            complete = chunk.last
        message = message_from_wire(head, bytes(data)) if head is not None and complete else None
        if message is None or message.kind is not MessageKind.SNAPSHOT or message.snapshot is None:
            raise InvalidArgumentError("the snapshot ended before its last chunk, or is of an unknown form")
        self._node.receive(message)
        return raft_pb2.RaftExchangeResponse()

    async def Join(  # noqa: N802 - the service's own name
        self,
        request: raft_pb2.RaftJoinRequest,
        context: aio.ServicerContext[Any, Any],
    ) -> raft_pb2.RaftJoinResponse:
        if not request.node_id or not request.addr:
            raise InvalidArgumentError("a manager joins with its node id and the address of its listener")
        try:
            member = await self._node.add_member(request.node_id, request.addr, request.raft_id)
        except NotLeaderError as error:
            return await self._forward(context, error, lambda stub, options: stub.Join(request, **options))
        members = [member_to_wire(m) for m in self._node.members()]
        return raft_pb2.RaftJoinResponse(raft_id=member.raft_id, members=members)

    async def Leave(  # noqa: N802 - the service's own name
        self,
        request: raft_pb2.RaftLeaveRequest,
        context: aio.ServicerContext[Any, Any],
    ) -> raft_pb2.RaftLeaveResponse:
        try:
            await self._node.remove_member(request.node_id)
        except NotLeaderError as error:
            return await self._forward(context, error, lambda stub, options: stub.Leave(request, **options))
        return raft_pb2.RaftLeaveResponse()

    async def _forward(
        self,
        context: aio.ServicerContext[Any, Any],
        error: NotLeaderError,
        call: Callable[[Any, dict[str, Any]], Awaitable[R]],
    ) -> R:
        """Asks the leader in the caller's place. Both calls may be repeated, so a lost answer does no harm."""
        metadata = context.invocation_metadata() or ()
        if not error.leader_addr or any(key == _FORWARDED for key, _ in metadata):
            raise error
        options = {"timeout": FORWARD_SECONDS, "metadata": ((_FORWARDED, "1"),)}
        try:
            async with connection(error.leader_addr, self._credentials) as channel:
                return await call(raft_pb2_grpc.RaftStub(channel), options)
        except aio.AioRpcError as failure:
            raise from_status(failure) from failure
        except TimeoutError as failure:
            raise UnavailableError(f"the leader at {error.leader_addr} does not answer; try again shortly") from failure

    def _require_own(self, cluster_id: str) -> None:
        own = self._node.identity.cluster_id
        if cluster_id != own:
            raise InvalidArgumentError(f"this manager belongs to cluster {own}, not to {cluster_id}")


def from_status(failure: aio.AioRpcError) -> CoveyError:
    """The error that another manager's status stands for."""
    code = failure.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineError(failure.details() or "the other manager did not answer in time")
    return from_code(code.name, failure.details() or "")
