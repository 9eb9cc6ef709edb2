"""Connection to one Raft peer: a long-lived message stream, and a separate call for snapshots.

Invariant: sending never blocks. Messages that do not fit into the queue, or are in it when the stream breaks, are
lost, which Raft allows; the core is told. A peer that is written to but stays silent gets a new connection, because TCP
alone notices only late that a broken link works again. Created by `transport`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import grpc
from grpc import aio

from covey.task_group import TaskGroup
from coveypb.v1 import raft_pb2, raft_pb2_grpc
from manager.raft.core import Message, MessageKind
from manager.raft.snapshot_stream import SnapshotTimeouts, send_snapshot
from manager.raft.snapshots import SnapshotReader
from manager.raft.wire import message_bytes, message_to_wire
from manager.storage_errors import StorageError
from manager.store.consensus import Member

log = logging.getLogger(__name__)

_QUEUE_MESSAGES = 4096
_QUEUE_BYTES = 64 << 20
_BATCH_BYTES = 1 << 20
_BATCH_MESSAGES = 256
_BACKOFF_SECONDS = (0.1, 1.0)
_CONNECT_SECONDS = 2.0
_WRITE_SECONDS = 5.0
UNREACHABLE_SECONDS = 3.0
_COMMIT_DELAY_SECONDS = 0.010
"""Delay of an append that carries only a commit index. The next write of a client usually follows within it, which halves the messages.
Followers apply so much later; nobody waits for that, because reads ask for the index."""

_CHANNEL_OPTIONS = (
    ("grpc.ssl_target_name_override", "covey"),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),  # so that a new channel opens a new connection
)

Credentials = Callable[[], grpc.ChannelCredentials]
"""Called for each new connection, so that it uses a renewed certificate."""


@asynccontextmanager
async def connected_channel(addr: str, credentials: Credentials) -> AsyncIterator[aio.Channel]:
    """A channel to a manager that is connected within two seconds, or TimeoutError."""
    async with aio.secure_channel(addr, credentials(), options=_CHANNEL_OPTIONS) as channel:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await channel.channel_ready()
        yield channel


class TransportListener(Protocol):
    """Receives delivery failures of the transport."""

    def report_unreachable(self, peer: int) -> None: ...

    def report_snapshot(self, peer: int, *, ok: bool) -> None: ...

    def report_removed(self) -> None:
        """A peer says that this node is no longer a member."""
        ...


class PeerLink:
    """Exists as long as the peer is a member at this address."""

    def __init__(
        self,
        member: Member,
        cluster_id: str,
        credentials: Credentials,
        listener: TransportListener,
        open_snapshot: Callable[[int], Awaitable[SnapshotReader]],
        *,
        sender: tuple[int, str] = (0, ""),
        timeouts: SnapshotTimeouts = SnapshotTimeouts(),  # noqa: B008 - frozen
    ) -> None:
        """``sender`` is the raft id and the address of this node."""
        self.member = member
        self._timeouts = timeouts
        self._sender = sender
        self._connected = False
        self._cluster_id = cluster_id
        self._credentials = credentials
        self._listener = listener
        self._open_snapshot = open_snapshot
        self._queue: deque[Message] = deque()
        self._queue_bytes = 0
        self._is_announcing = False
        self._snapshot: Message | None = None
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._snapshot_wake = asyncio.Event()
        self._received_at = 0.0
        self._unanswered_since = 0.0  # when the first message without an answer was sent, over any connection

    def record_received(self) -> None:
        """Records that a message from the peer arrived."""
        self._received_at = asyncio.get_running_loop().time()

    @property
    def last_heard_seconds(self) -> float | None:
        """Seconds since the last message of the peer arrived; None if none did."""
        return asyncio.get_running_loop().time() - self._received_at if self._received_at else None

    @property
    def reachable(self) -> bool:
        """Whether the peer is connected and answers. A connection alone does not count, because the peer's disk may have stalled."""
        silent = self._received_at < self._unanswered_since < asyncio.get_running_loop().time() - UNREACHABLE_SECONDS
        return self._connected and not silent

    def send(self, message: Message) -> None:
        """Queues a message without blocking. A full queue drops it."""
        if message.snapshot:
            if self._snapshot:  # only one at a time; the core sends it again
                self._listener.report_snapshot(self.member.raft_id, ok=False)
                return
            self._snapshot = message
            self._snapshot_wake.set()
            return
        size = message_bytes(message)
        if len(self._queue) >= _QUEUE_MESSAGES or self._queue_bytes + size > _QUEUE_BYTES:
            self._listener.report_unreachable(self.member.raft_id)
            return
        if self._queue and _supersedes(message, self._queue[-1]):
            self._queue_bytes -= message_bytes(self._queue.pop())
        self._queue.append(message)
        self._queue_bytes += size
        self._wake.set()
        if not _is_commit_only(message):
            self._urgent.set()

    def announce(self) -> None:
        """Sends a batch without messages if no other one is sent anyway: each names the sender. It needs no answer."""
        self._is_announcing = True
        self._urgent.set()
        self._wake.set()

    def close(self) -> None:
        """Closes the link. A snapshot that was not sent is reported as failed."""
        self._end_snapshot(ok=False)

    def _end_snapshot(self, *, ok: bool) -> None:
        """Reports each snapshot once: until then the core sends nothing else to the peer."""
        if self._snapshot:
            self._snapshot = None
            self._listener.report_snapshot(self.member.raft_id, ok=ok)

    async def run(self) -> None:
        """Runs both streams until cancelled."""
        async with TaskGroup() as tasks:
            tasks.create_task(self._stream_loop())
            tasks.create_task(self._send_snapshots())

    async def _stream_loop(self) -> None:
        backoff, longest = _BACKOFF_SECONDS
        while True:
            try:
                async with connected_channel(self.member.addr, self._credentials) as channel:
                    backoff = _BACKOFF_SECONDS[0]
                    await self._stream(channel)
            except (aio.AioRpcError, asyncio.InvalidStateError, TimeoutError, OSError) as error:
                log.debug("raft peer %s: %r", self.member.addr, error)
            self._drop_queue()
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            backoff = min(backoff * 2, longest)

    async def _stream(self, channel: aio.Channel) -> None:
        """Returns or raises when the stream is no longer usable."""
        call: Any = raft_pb2_grpc.RaftStub(channel).Exchange()
        call.add_done_callback(lambda _: self._wake.set())
        loop = asyncio.get_running_loop()
        self._connected = True
        unanswered_since = 0.0  # like `self._unanswered_since`, but for this connection
        try:
            while not call.done():
                if not self._queue and not self._is_announcing:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                if not self._urgent.is_set():
                    await self._wait_for_more()
                batch = self._take_batch()
                async with asyncio.timeout(_WRITE_SECONDS):
                    await call.write(batch)
                if not batch.messages:
                    continue
                now = loop.time()
                if self._received_at >= self._unanswered_since:
                    self._unanswered_since = now
                if self._received_at >= unanswered_since:
                    unanswered_since = now
                elif now - unanswered_since > UNREACHABLE_SECONDS:
                    raise TimeoutError("the peer is silent")
        finally:
            self._connected = False
            if call.done():
                await self._handle_stream_end(call)
            else:
                call.cancel()

    async def _handle_stream_end(self, call: Any) -> None:
        """The peer ended the stream; NOT_FOUND means that it removed this node."""
        if await call.code() is grpc.StatusCode.NOT_FOUND:
            self._listener.report_removed()
        log.debug("raft peer %s ended the stream: %s", self.member.addr, await call.details())

    async def _wait_for_more(self) -> None:
        """Delays a commit index until something else is queued, for a short time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_COMMIT_DELAY_SECONDS):
                await self._urgent.wait()

    def _take_batch(self) -> raft_pb2.RaftBatch:
        batch = raft_pb2.RaftBatch(cluster_id=self._cluster_id, sender=self._sender[0], addr=self._sender[1])
        size = 0
        while self._queue and size < _BATCH_BYTES and len(batch.messages) < _BATCH_MESSAGES:
            message = self._queue.popleft()
            size += message_bytes(message)
            batch.messages.append(message_to_wire(message))
        self._queue_bytes -= size
        self._is_announcing = False
        if not self._queue:
            self._urgent.clear()
        return batch

    def _drop_queue(self) -> None:
        """Drops all queued messages and reports the peer as unreachable."""
        self._queue.clear()
        self._queue_bytes = 0
        self._urgent.clear()
        self._listener.report_unreachable(self.member.raft_id)

    async def _send_snapshots(self) -> None:
        while True:
            await self._snapshot_wake.wait()
            self._snapshot_wake.clear()
            message = self._snapshot
            if message is None or message.snapshot is None:
                continue
            ok = False
            try:
                opening = self._open_snapshot(message.snapshot.metadata.index)
                connecting = connected_channel(self.member.addr, self._credentials)
                await send_snapshot(self._cluster_id, message, opening, connecting, self._timeouts)
                ok = True
            except (aio.AioRpcError, asyncio.InvalidStateError, TimeoutError, OSError, StorageError) as error:
                log.warning("sending a snapshot to the manager at %s failed: %r", self.member.addr, error)
            finally:
                self._end_snapshot(ok=ok)


def _is_commit_only(message: Message) -> bool:
    """Whether the message carries only a commit index."""
    return message.kind is MessageKind.APPEND and not message.entries


def _supersedes(message: Message, before: Message) -> bool:
    """Whether the message contains everything that ``before`` says."""
    return (
        _is_commit_only(before)
        and message.kind is MessageKind.APPEND
        and (message.term, message.log_term, message.index) == (before.term, before.log_term, before.index)
        and message.commit >= before.commit
    )
