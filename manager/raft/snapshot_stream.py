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
    """With opening the snapshot, with each piece of 1 MiB, and with the answer, which comes once the peer has read all of it. One core
    reads 8 MiB/s of small objects and 190 of large ones; the peer may be busy besides.
    """

    chunk_seconds: float = 30.0
    response_seconds: float = 30.0
    response_seconds_per_mib: float = 1.0

    def response_seconds_for(self, size: int) -> float:
        """Seconds, for a snapshot of so many bytes."""
        return self.response_seconds + self.response_seconds_per_mib * size / (1 << 20)


async def send_snapshot(
    cluster_id: str,
    message: Message,
    opening: Awaitable[SnapshotReader],
    connecting: AbstractAsyncContextManager[aio.Channel],
    patience: SnapshotTimeouts,
) -> None:
    """Returns once the peer has read it.

    Raises:
        TimeoutError: it does not move on, and where; AioRpcError; StorageError, OSError: it cannot be read here.
    """
    async with _within(patience.chunk_seconds, "opening it"):
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
    async with _within(patience.response_seconds_for(reader.size), "the answer to it"):
        await call.done_writing()
        await call


async def _send_next(call: Any, chunks: AsyncIterator[raft_pb2.RaftSnapshotChunk], patience: SnapshotTimeouts) -> bool:
    """Whether there was one more. The write returns when the peer has room for it."""
    async with _within(patience.chunk_seconds, "a piece of it"):
        chunk = await anext(chunks, None)
        if chunk is not None:
            await call.write(chunk)
    return chunk is not None


async def snapshot_chunks(
    cluster_id: str, message: Message, reader: SnapshotReader
) -> AsyncGenerator[raft_pb2.RaftSnapshotChunk, None]:
    """The snapshot may be a newer one than the message names; its own metadata goes along. One piece at a time is in memory."""
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
    """Raises TimeoutError, which says what took too long."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TimeoutError(f"{what} took longer than {seconds:g} s") from None
