"""Log publisher: sends the log lines of this node's tasks, in order of time, to the manager that subscribed to them.

Invariant: at most 64 subscriptions at a time, each with a bounded queue for each task. A slow reader at the other end slows down only the
reading of files here. A task whose log cannot be read gives an error line, not a hang.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from grpc import aio

from agent.session.interfaces import TaskLogEntry, TaskLogOptions, WorkerPort
from covey.errors import CoveyError
from covey.merge_queue import MergeQueue
from covey.objects import replace
from covey.task_group import TaskGroup
from covey.time_merge import TimeMerge
from coveypb.v1 import dispatcher_pb2

log = logging.getLogger(__name__)

MAX_SUBSCRIPTIONS = 64
_ROOM_LINES = 64
"""Lines of one task that may wait for earlier ones of others."""
_HOLD_SECONDS = 0.05
_FIRST_SECONDS = 0.15
"""While logs are followed, a line waits so long for earlier ones of silent tasks, and of tasks that were not read yet."""
_BATCH_LINES = 256
_BATCH_BYTES = 256 * 1024
_WRITE_SECONDS = 300.0
_STREAMS = {"stdout": 1, "stderr": 2}


class LogPublisher:
    """The log subscriptions of one stream. Their tasks belong to its group and end with it."""

    def __init__(self, worker: WorkerPort, stub: Any, group: TaskGroup) -> None:
        self._worker = worker
        self._stub = stub
        self._group = group
        self._running: dict[str, asyncio.Task[None]] = {}

    def handle_subscription(self, subscription: dispatcher_pb2.LogSubscription) -> None:
        """Starts a new subscription, or ends the one that is to be closed."""
        subscription_id = subscription.subscription_id
        running = self._running.get(subscription_id)
        if subscription.close:
            if running is not None:
                running.cancel()
            return
        if running is not None:
            return
        task = self._group.create_task(self._publish(subscription), name=f"logs {subscription_id}")
        self._running[subscription_id] = task
        task.add_done_callback(lambda _: self._running.pop(subscription_id, None))

    async def _publish(self, subscription: dispatcher_pb2.LogSubscription) -> None:
        call = self._stub.PublishLogs()
        try:
            if len(self._running) > MAX_SUBSCRIPTIONS:
                error = f"this node already serves {MAX_SUBSCRIPTIONS} log readers; try again later"
                await _send(call, _closing(subscription, error))
            else:
                await self._read_tasks(call, subscription)
            await call.done_writing()
            await call
        except (aio.AioRpcError, asyncio.InvalidStateError, TimeoutError) as error:
            log.debug("log subscription %s ended: %r", subscription.subscription_id, error)
        finally:
            call.cancel()

    async def _read_tasks(self, call: Any, subscription: dispatcher_pb2.LogSubscription) -> None:
        options = log_options_from_wire(subscription.options)
        hold = _HOLD_SECONDS if options.follow else None
        lines = MergeQueue(TimeMerge[dispatcher_pb2.LogLine](hold, _FIRST_SECONDS), _ROOM_LINES)
        cursors = {cursor.task_id: cursor for cursor in subscription.options.cursors}
        errors: list[str] = []
        for task_id in subscription.task_ids:
            lines.open(task_id)

        async with TaskGroup() as group:
            reading = [
                group.create_task(self._read_task(task_id, options, cursors.get(task_id), lines, errors))
                for task_id in subscription.task_ids
            ]
            try:
                await _write_all(call, subscription.subscription_id, lines)
            finally:
                for reader in reading:
                    reader.cancel()
        await _send(call, _closing(subscription, "; ".join(sorted(errors))))

    async def _read_task(
        self,
        task_id: str,
        options: TaskLogOptions,
        cursor: dispatcher_pb2.LogCursor | None,
        lines: MergeQueue[dispatcher_pb2.LogLine],
        errors: list[str],
    ) -> None:
        """Reads a task's log, from the cursor on if the reader has lines of the task already."""
        skip = 0
        if cursor is not None:
            options, skip = replace(options, tail=-1, since_ns=cursor.time_ns), cursor.lines
        try:
            async for entry in self._worker.task_logs(task_id, options):
                if cursor is not None and skip and entry.time_ns == cursor.time_ns:
                    skip -= 1
                    continue
                await lines.put(task_id, entry.time_ns, log_line(task_id, entry))
        except CoveyError as error:
            errors.append(f"task {task_id}: {error.message}")
        except OSError as error:
            errors.append(f"task {task_id}: its log cannot be read: {error}")
        finally:
            lines.close(task_id)


def log_options_from_wire(message: dispatcher_pb2.LogOptions) -> TaskLogOptions:
    """The log options of a protobuf message."""
    return TaskLogOptions(
        stdout=message.stdout,
        stderr=message.stderr,
        follow=message.follow,
        tail=message.tail,
        since_ns=message.since_ns,
        until_ns=message.until_ns,
    )


def log_line(task_id: str, entry: TaskLogEntry) -> dispatcher_pb2.LogLine:
    """The protobuf message of a log entry."""
    return dispatcher_pb2.LogLine(
        task_id=task_id, timestamp_ns=entry.time_ns, stream=_STREAMS.get(entry.stream, 1), data=entry.data
    )


def _closing(subscription: dispatcher_pb2.LogSubscription, error: str) -> dispatcher_pb2.LogBatch:
    return dispatcher_pb2.LogBatch(subscription_id=subscription.subscription_id, closed=True, error=error)


async def _write_all(call: Any, subscription_id: str, lines: MergeQueue[dispatcher_pb2.LogLine]) -> None:
    """Writes lines as their turn comes, all that are ready in one batch, until every task's log has ended.

    A first batch is written soon, empty if need be: until then the manager holds back the lines of other nodes.
    """
    first = True
    while True:
        ready = lines.take(_BATCH_LINES)
        if not ready and not len(lines):
            return
        if not ready and not first:
            await lines.wait()
            continue
        if not ready:
            await lines.wait(_FIRST_SECONDS)
            ready = lines.take(_BATCH_LINES)
        first = False
        for batch in _batches(subscription_id, ready):
            await _send(call, batch)


def _batches(subscription_id: str, lines: Sequence[dispatcher_pb2.LogLine]) -> Iterator[dispatcher_pb2.LogBatch]:
    """Batches of bounded size; one without lines for none."""
    batch, size = dispatcher_pb2.LogBatch(subscription_id=subscription_id), 0
    for line in lines:
        batch.lines.append(line)
        size += len(line.data)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = dispatcher_pb2.LogBatch(subscription_id=subscription_id), 0
    if batch.lines or not lines:
        yield batch


async def _send(call: Any, batch: dispatcher_pb2.LogBatch) -> None:
    async with asyncio.timeout(_WRITE_SECONDS):
        await call.write(batch)
