"""Log reader: the open subscriptions of one log request, and a bounded mailbox for their batches.

Invariant: batches of a node wait for room. Failures never wait, and there is at most one per subscription.
"""

import asyncio
from collections import deque

from covey.errors import NotFoundError
from coveypb.v1 import dispatcher_pb2

MAX_BATCHES = 64


class NodeSubscription:
    """One subscription of one node. ``requested_at`` is a time of the event loop, in seconds."""

    def __init__(self, node_id: str, task_ids: list[str], requested_at: float) -> None:
        self.node_id = node_id
        self.task_ids = task_ids
        self.requested_at = requested_at
        self.has_answered = False


class LogReader:
    """The reader of one log request. ``subscriptions`` are the open ones, by id; ``next_check_at`` is when to look for new tasks and
    disconnected nodes again.
    """

    def __init__(self, options: dispatcher_pb2.LogOptions) -> None:
        self.options = options
        self.subscriptions: dict[str, NodeSubscription] = {}
        self.requested_task_ids: set[str] = set()
        self.next_check_at = 0.0
        self._batches: deque[dispatcher_pb2.LogBatch] = deque()
        self._failures: deque[dispatcher_pb2.LogBatch] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False

    async def put(self, batch: dispatcher_pb2.LogBatch) -> None:
        """Adds a batch, waiting for room. Raises NotFoundError once the reader is closed."""
        while len(self._batches) >= MAX_BATCHES and not self._closed:
            self._room.clear()
            await self._room.wait()
        if self._closed:
            raise NotFoundError("the reader of these logs is gone")
        self._batches.append(batch)
        self._arrived.set()

    def fail(self, batch: dispatcher_pb2.LogBatch) -> None:
        """Adds a batch that says why a node sends no more."""
        self._failures.append(batch)
        self._arrived.set()

    def wake(self) -> None:
        """A subscription is closed: the reader may be finished."""
        self._arrived.set()

    def take(self) -> dispatcher_pb2.LogBatch | None:
        """The next waiting batch, lines before failures; None if nothing waits."""
        if self._batches:
            self._room.set()
            return self._batches.popleft()
        return self._failures.popleft() if self._failures else None

    async def wait(self, seconds: float) -> None:
        """Waits until something arrives, but no longer than this."""
        self._arrived.clear()
        if self._batches or self._failures:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            return

    def close(self) -> None:
        """Ends waiting senders with an error."""
        self._closed = True
        self._room.set()
