"""Log reader: the open subscriptions of one log request, and a bounded mailbox that puts their lines in order of time.

Invariant: lines of a node wait for room. Failures never wait, and there is at most one per subscription. ``cursors`` cover every line that
was put, so a subscription that is opened again repeats and loses none.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from covey.log_cursors import LogCursors
from covey.merge_queue import MergeQueue
from covey.time_merge import TimeMerge
from coveypb.v1 import dispatcher_pb2

ROOM_LINES = 512
"""Lines of one subscription that may wait for earlier ones of others."""
BATCH_LINES = 256
_HOLD_SECONDS = 0.2
_FIRST_SECONDS = 1.0
"""While logs are followed, a line waits so long for earlier ones of silent nodes, and of nodes that have not answered yet."""


class NodeSubscription:
    """One subscription of one node. ``requested_at`` is a time of the event loop, in seconds."""

    def __init__(self, node_id: str, task_ids: list[str], requested_at: float) -> None:
        self.node_id = node_id
        self.task_ids = task_ids
        self.requested_at = requested_at
        self.has_answered = False


class LogReader:
    """The reader of one log request. ``subscriptions`` are the open ones, by id; ``next_check_at`` is when to look for new tasks and
    disconnected nodes again. ``lost_task_ids`` are those whose node was reported as gone.
    """

    def __init__(self, options: dispatcher_pb2.LogOptions) -> None:
        self.options = options
        self.cursors = LogCursors(options.cursors)
        self.subscriptions: dict[str, NodeSubscription] = {}
        self.requested_task_ids: set[str] = set()
        self.lost_task_ids: set[str] = set()
        self.next_check_at = 0.0
        self._lines = MergeQueue(
            TimeMerge[dispatcher_pb2.LogLine](_HOLD_SECONDS if options.follow else None, _FIRST_SECONDS), ROOM_LINES
        )
        self._failures: deque[dispatcher_pb2.LogBatch] = deque()

    def options_for(self, task_ids: Iterable[str]) -> dispatcher_pb2.LogOptions:
        """The options of a subscription to these tasks: with the present positions in their logs."""
        options = dispatcher_pb2.LogOptions()
        options.CopyFrom(self.options)
        del options.cursors[:]
        options.cursors.extend(self.cursors.of(task_ids))
        return options

    def open(self, subscription_id: str, subscription: NodeSubscription) -> None:
        """Adds a subscription."""
        self.subscriptions[subscription_id] = subscription
        self.requested_task_ids.update(subscription.task_ids)
        self._lines.open(subscription_id)

    def drop(self, subscription_id: str) -> NodeSubscription | None:
        """Closes a subscription. Its lines are still taken."""
        self._lines.close(subscription_id)
        return self.subscriptions.pop(subscription_id, None)

    async def put(self, subscription_id: str, lines: Iterable[dispatcher_pb2.LogLine]) -> None:
        """Adds lines, waiting for room. Raises NotFoundError once the subscription or the reader is closed."""
        self._lines.touch(subscription_id)
        for line in lines:
            await self._lines.put(subscription_id, line.timestamp_ns, line)
            self.cursors.advance(line)

    def add_kept(self, task_id: str, lines: Sequence[dispatcher_pb2.LogLine]) -> None:
        """Adds the kept lines of a task whose node is gone; they are few."""
        self._lines.put_all(f"kept {task_id}", ((line.timestamp_ns, line) for line in lines))
        for line in lines:
            self.cursors.advance(line)

    def fail(self, batch: dispatcher_pb2.LogBatch) -> None:
        """Adds a batch that says why a node sends no more."""
        self._failures.append(batch)
        self._lines.changed.set()

    def take(self) -> dispatcher_pb2.LogBatch | None:
        """The lines whose turn it is; None if nothing waits. Failures come last, or at once while logs are followed."""
        lines = self._lines.take(BATCH_LINES)
        if lines:
            return dispatcher_pb2.LogBatch(lines=lines)
        may_fail = self.options.follow or not len(self._lines)
        return self._failures.popleft() if self._failures and may_fail else None

    async def wait(self, seconds: float) -> None:
        """Waits after a `take` until something may be ready, but no longer than this."""
        await self._lines.wait(seconds)

    def close(self) -> None:
        """Ends waiting senders with an error."""
        self._lines.end()
