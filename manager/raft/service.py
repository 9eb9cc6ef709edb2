"""gRPC Raft service: messages and snapshots from peers, and the Join and Leave calls of managers.

Invariant: accepts messages of its own cluster only, each from the node that its sender field names, and only complete
snapshots of bounded size. The listener's interceptor (`manager.authorize`) decides who may call at all. The leader
carries out Join and Leave for nodes that the store lists as managers; any other member forwards such a call once and
names the original caller.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from grpc import aio

from covey.errors import (
    InvalidArgumentError,
    PermissionDeniedError,
    TooLargeError,
    UnavailableError,
)
from coveypb.v1 import raft_pb2, raft_pb2_grpc
from manager.grpc_status import error_from_rpc
from manager.raft.core import MessageKind
from manager.raft.node import RaftNode
from manager.raft.peer import Credentials, connected_channel
from manager.raft.wire import member_to_wire, message_from_wire
from manager.store.consensus import NotLeaderError

MAX_SNAPSHOT_BYTES = 1 << 30
FORWARD_SECONDS = 20.0
_PASSED_ON_FOR = "covey-passed-on-for"

R = TypeVar("R")


class RaftService(raft_pb2_grpc.RaftServicer):
    """Raises ``covey.errors``; the listener's interceptor converts them to gRPC statuses.

    ``caller`` returns the node id in a call's certificate. ``is_manager`` returns whether the store lists a node as a
    manager; the leader's store is complete.
    """

    def __init__(
        self,
        node: RaftNode,
        credentials: Credentials,
        *,
        caller: Callable[[aio.ServicerContext[Any, Any]], str],
        is_manager: Callable[[str], bool],
    ) -> None:
        self._node = node
        self._credentials = credentials
        self._caller = caller
        self._is_manager = is_manager

    async def Exchange(  # noqa: N802 - the service's own name
        self,
        request_iterator: AsyncIterator[raft_pb2.RaftBatch],
        context: aio.ServicerContext[Any, Any],
    ) -> raft_pb2.RaftExchangeResponse:
        sender = self._caller(context)
        try:
            async for batch in request_iterator:
                self._require_own(batch.cluster_id)
                if batch.sender:
                    self._node.peer_messages.announced(sender, batch.sender, batch.addr)
                for wire in batch.messages:
                    message = message_from_wire(wire)
                    if message is not None and message.kind is not MessageKind.SNAPSHOT:
                        self._node.peer_messages.receive(message, sender)
        finally:
            self._node.peer_messages.disconnected(sender)
        return raft_pb2.RaftExchangeResponse()

    async def SendSnapshot(  # noqa: N802 - the service's own name
        self,
        request_iterator: AsyncIterator[raft_pb2.RaftSnapshotChunk],
        context: aio.ServicerContext[Any, Any],
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
                raise TooLargeError(f"the snapshot is larger than {MAX_SNAPSHOT_BYTES} bytes")
            complete = chunk.last
        message = message_from_wire(head, bytes(data)) if head is not None and complete else None
        if message is None or message.kind is not MessageKind.SNAPSHOT or message.snapshot is None:
            raise InvalidArgumentError("the snapshot ended before its last chunk, or its format is unknown")
        del data  # the message holds a copy
        await self._node.peer_messages.receive_snapshot(message, self._caller(context))
        return raft_pb2.RaftExchangeResponse()

    async def Join(  # noqa: N802 - the service's own name
        self,
        request: raft_pb2.RaftJoinRequest,
        context: aio.ServicerContext[Any, Any],
    ) -> raft_pb2.RaftJoinResponse:
        if not request.node_id or not request.addr:
            raise InvalidArgumentError("a join request must name the node id and the address of the manager's listener")
        requester = self._requester(context)
        if requester != request.node_id:
            raise PermissionDeniedError(f"node {requester} may not join as node {request.node_id}")
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
        self._requester(context)
        try:
            await self._node.remove_members((request.node_id,))
        except NotLeaderError as error:
            return await self._forward(context, error, lambda stub, options: stub.Leave(request, **options))
        return raft_pb2.RaftLeaveResponse()

    async def _forward(
        self,
        context: aio.ServicerContext[Any, Any],
        error: NotLeaderError,
        call: Callable[[Any, dict[str, Any]], Awaitable[R]],
    ) -> R:
        """Calls the leader for the original caller. Both calls are idempotent, so a lost response does no harm."""
        if not error.leader_addr or _forwarded_for(context):
            raise error
        options = {"timeout": FORWARD_SECONDS, "metadata": ((_PASSED_ON_FOR, self._caller(context)),)}
        try:
            async with connected_channel(error.leader_addr, self._credentials) as channel:
                return await call(raft_pb2_grpc.RaftStub(channel), options)
        except aio.AioRpcError as failure:
            raise error_from_rpc(failure) from failure
        except TimeoutError as failure:
            raise UnavailableError(f"the leader at {error.leader_addr} does not answer; try again shortly") from failure

    def _requester(self, context: aio.ServicerContext[Any, Any]) -> str:
        """The node that makes the request: the caller, or the node for which another manager forwards it.

        Raises:
            PermissionDeniedError: on the leader, if the store does not list that node as a manager.
        """
        sender = _forwarded_for(context) or self._caller(context)
        if self._node.leadership.is_leader and not self._is_manager(sender):
            raise PermissionDeniedError(f"node {sender} is not a manager of this cluster: promote it first")
        return sender

    def _require_own(self, cluster_id: str) -> None:
        own = self._node.identity.cluster_id
        if cluster_id != own:
            raise InvalidArgumentError(f"this manager belongs to cluster {own}, not to {cluster_id}")


def _forwarded_for(context: aio.ServicerContext[Any, Any]) -> str:
    """The node for which a manager forwards a call; empty for a direct call."""
    metadata = dict(context.invocation_metadata() or ())
    return str(metadata.get(_PASSED_ON_FOR, ""))
