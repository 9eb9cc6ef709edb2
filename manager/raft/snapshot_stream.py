"""Streaming of a snapshot to a peer in chunks, with a timeout for each chunk.

Invariant: a transfer may take any time while it makes progress. A stalled transfer is aborted, so that the peer is
sent something again. Called by `peer`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import msgspec
from grpc import aio

from coveypb.v1 import raft_pb2, raft_pb2_grpc
from manager.raft.core import Message, Snapshot
from manager.raft.snapshots import SnapshotReader
from manager.raft.wire import message_to_wire


class SnapshotTimeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Timeouts for opening the snapshot, for each chunk of 1 MiB, and for the response, which comes when the peer has decoded
    all of it. One core decodes 8 MiB/s of small objects and 190 MiB/s of large ones; the peer may be busy as well.
    """

    chunk_seconds: float = 30.0
    response_seconds: float = 30.0
    response_seconds_per_mib: float = 1.0

    def response_seconds_for(self, size: int) -> float:
        """The response timeout for a snapshot of ``size`` bytes."""
        return self.response_seconds + self.response_seconds_per_mib * size / (1 << 20)


async def send_snapshot(
    cluster_id: str,
    message: Message,
    opening: Awaitable[SnapshotReader],
    connecting: AbstractAsyncContextManager[aio.Channel],
    patience: SnapshotTimeouts,
) -> None:
    """Returns when the peer has decoded the snapshot.

    Raises:
        TimeoutError: the transfer made no progress; AioRpcError; StorageError, OSError: the snapshot cannot be read.
    """
    async with _within(patience.chunk_seconds, "opening the snapshot"):
        opened = await opening
    with opened as reader:
        async with connecting as channel:
            await _send(channel, cluster_id, message, reader, patience)


async def _send(
    channel: aio.Channel, cluster_id: str, message: Message, reader: SnapshotReader, patience: SnapshotTimeouts
) -> None:
    call: Any = raft_pb2_grpc.RaftStub(channel).SendSnapshot()
    async with aclosing(snapshot_chunks(cluster_id, message, reader)) as chunks:
        while await _send_next(call, chunks, patience):
            pass
    async with _within(patience.response_seconds_for(reader.size), "the response to the snapshot"):
        await call.done_writing()
        await call


async def _send_next(call: Any, chunks: AsyncIterator[raft_pb2.RaftSnapshotChunk], patience: SnapshotTimeouts) -> bool:
    """Sends the next chunk; False if there is none. The write returns when the peer has room for it."""
    async with _within(patience.chunk_seconds, "a chunk of the snapshot"):
        chunk = await anext(chunks, None)
        if chunk is not None:
            await call.write(chunk)
    return chunk is not None


async def snapshot_chunks(
    cluster_id: str, message: Message, reader: SnapshotReader
) -> AsyncGenerator[raft_pb2.RaftSnapshotChunk, None]:
    """The snapshot in chunks, one in memory at a time. It may be newer than the message says, so its own metadata is sent."""
    head = Message(message.kind, message.to, message.from_, message.term, snapshot=Snapshot(reader.metadata))
    sent, last = 0, False
    while not last:
        piece = await asyncio.to_thread(reader.read)
        wire = None if sent else message_to_wire(head)
        sent += len(piece)
        last = sent == reader.size
        yield raft_pb2.RaftSnapshotChunk(cluster_id=cluster_id, message=wire, data=piece, last=last)


@asynccontextmanager
async def _within(seconds: float, what: str) -> AsyncIterator[None]:
    """Raises TimeoutError that names the operation."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TimeoutError(f"{what} took longer than {seconds:g} s") from None
