"""Log publisher: sends the log lines of this node's tasks to the manager that subscribed to them.

Invariant: at most 64 subscriptions at a time, each with a bounded queue. A slow reader at the other end slows down only the reading of
files here. A task whose log cannot be read gives an error line, not a hang.
"""

import asyncio
import logging
from typing import Any

from grpc import aio

from agent.session.interfaces import TaskLogEntry, TaskLogOptions, WorkerPort
from covey.errors import CoveyError
from coveypb.v1 import dispatcher_pb2

log = logging.getLogger(__name__)

MAX_SUBSCRIPTIONS = 64
_QUEUE_LINES = 512
_BATCH_LINES = 256
_BATCH_BYTES = 256 * 1024
_WRITE_SECONDS = 300.0
_STREAMS = {"stdout": 1, "stderr": 2}


class LogPublisher:
    """The log subscriptions of one stream. Their tasks belong to its group and end with it."""

    def __init__(self, worker: WorkerPort, stub: Any, group: asyncio.TaskGroup) -> None:
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
        queue: asyncio.Queue[dispatcher_pb2.LogLine | None] = asyncio.Queue(_QUEUE_LINES)
        options = log_options_from_wire(subscription.options)
        errors: list[str] = []

        async def read_all() -> None:
            async with asyncio.TaskGroup() as readers:
                for task_id in subscription.task_ids:
                    readers.create_task(self._read_task(task_id, options, queue, errors))
            await queue.put(None)

        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read_all())
            try:
                await _write_all(call, subscription.subscription_id, queue)
            finally:
                reading.cancel()
        await _send(call, _closing(subscription, "; ".join(sorted(errors))))

    async def _read_task(
        self,
        task_id: str,
        options: TaskLogOptions,
        queue: "asyncio.Queue[dispatcher_pb2.LogLine | None]",
        errors: list[str],
    ) -> None:
        try:
            async for entry in self._worker.task_logs(task_id, options):
                await queue.put(log_line(task_id, entry))
        except CoveyError as error:
            errors.append(f"task {task_id}: {error.message}")
        except OSError as error:
            errors.append(f"task {task_id}: its log cannot be read: {error}")


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


async def _write_all(call: Any, subscription_id: str, queue: "asyncio.Queue[dispatcher_pb2.LogLine | None]") -> None:
    """Writes lines as they arrive, all waiting ones in one batch."""
    line = await queue.get()
    while line is not None:
        batch = dispatcher_pb2.LogBatch(subscription_id=subscription_id)
        size = 0
        while line is not None:
            batch.lines.append(line)
            size += len(line.data)
            if len(batch.lines) >= _BATCH_LINES or size >= _BATCH_BYTES or queue.empty():
                break
            line = queue.get_nowait()
        await _send(call, batch)
        if line is not None:
            line = await queue.get()


async def _send(call: Any, batch: dispatcher_pb2.LogBatch) -> None:
    async with asyncio.timeout(_WRITE_SECONDS):
        await call.write(batch)
