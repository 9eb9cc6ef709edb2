"""Log broker: turns a log request into subscriptions of the nodes that hold the tasks, and merges their lines into one stream.

Invariant: every queue from the reader back to the agent's file is bounded. A node without a session, or whose session ends, gives an error
line in the result and never a hang. New tasks of a followed service are included. Runs on the leader, which holds the sessions.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from covey.clock import wall_clock
from covey.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError, UnavailableError
from covey.ids import new_id
from covey.objects import Task
from covey.states import NodeState
from coveypb.v1 import control_pb2, dispatcher_pb2
from manager.control.list_filters import display_name
from manager.logbroker.log_reader import LogReader, NodeSubscription
from manager.logbroker.selection import LogSelection, add_task_details, resolve_selection, selected_tasks
from manager.store import Store

log = logging.getLogger(__name__)

MAX_READERS = 64
SYSTEM_ERROR_STREAM = 3
"""The stream of a line that says why others are missing."""
_FIRST_BATCH_SECONDS = 10.0
_TICK_SECONDS = 0.5
_SESSION_SECONDS = 2.0
_SESSION_TICK_SECONDS = 0.05

SendCallback = Callable[[str, dispatcher_pb2.ManagerMessage], bool]


class LogBroker:
    """One a manager process. ``bind`` gives it the way to the nodes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._send: SendCallback = lambda _node, _message: False
        self._is_connected: Callable[[str], bool] = lambda _node: False
        self._reader_by_subscription: dict[str, LogReader] = {}
        self._reader_count = 0

    def bind(self, send: SendCallback, is_connected: Callable[[str], bool]) -> None:
        self._send = send
        self._is_connected = is_connected

    async def logs(self, request: control_pb2.LogsRequest) -> AsyncIterator[dispatcher_pb2.LogBatch]:
        """Batches of lines; a batch with ``error`` is a node's reason for having no more, and a line of stream 3 says it in its place.

        Raises:
            NotFoundError: a service or task does not exist; UnavailableError: too many readers.
        """
        selection = resolve_selection(self._store.view(), request)
        if self._reader_count >= MAX_READERS:
            raise UnavailableError(f"{MAX_READERS} log readers are served already; try again later")
        reader = LogReader(request.options)
        self._reader_count += 1
        try:
            await self._wait_for_sessions(selection)
            while (batch := await self._next(reader, selection)) is not None:
                if batch.lines or batch.error:
                    yield add_task_details(self._store.view(), batch)
        finally:
            self._reader_count -= 1
            self._unsubscribe(reader)

    async def publish(self, node_id: str, batches: AsyncIterator[dispatcher_pb2.LogBatch]) -> None:
        """What one node sends for one subscription. Waits for the reader."""
        part = ""
        try:
            async for batch in batches:
                reader = self._reader_by_subscription.get(batch.subscription_id)
                if reader is None:
                    raise NotFoundError(f"log subscription {batch.subscription_id} is over")
                asked = reader.subscriptions[batch.subscription_id]
                if asked.node_id != node_id or any(line.task_id not in asked.task_ids for line in batch.lines):
                    raise PermissionDeniedError(f"node {node_id} was not asked for these logs")
                if part not in {"", batch.subscription_id}:
                    raise InvalidArgumentError("one call publishes one subscription")
                part = batch.subscription_id
                asked.has_answered = True
                reason = batch.error
                batch.ClearField("error")
                await reader.put(batch)
                if reason and part in reader.subscriptions:  # it may have been given up meanwhile
                    self._fail_subscription(reader, part, reason)
                elif batch.closed:
                    self._close_subscription(reader, part)
        finally:
            reader = self._reader_by_subscription.get(part)
            if reader is not None:  # the stream broke before the agent had said that this was all
                self._fail_subscription(reader, part, "its stream of log lines broke")

    async def _wait_for_sessions(self, selection: LogSelection) -> None:
        """Behind a change of leader the nodes come back one by one: those that count as ready get a moment for it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SESSION_SECONDS
        while loop.time() < deadline and self._sessions_missing(selection):  # noqa: ASYNC110 - sessions come without a word
            await asyncio.sleep(_SESSION_TICK_SECONDS)

    def _sessions_missing(self, selection: LogSelection) -> bool:
        view = self._store.view()
        nodes = {task.node_id for task in selected_tasks(view, selection) if task.node_id}
        ready = {
            node.id for node_id in nodes if (node := view.nodes.get(node_id)) and node.status.state is NodeState.READY
        }
        return any(not self._is_connected(node_id) for node_id in ready)

    def _subscribe(self, reader: LogReader, selection: LogSelection) -> None:
        """Asks the nodes of all tasks that are new to the reader."""
        by_node: dict[str, list[Task]] = {}
        for task in selected_tasks(self._store.view(), selection):
            if task.id not in reader.requested_task_ids and task.node_id:
                reader.requested_task_ids.add(task.id)
                by_node.setdefault(task.node_id, []).append(task)
        for node_id, tasks in by_node.items():
            part = new_id()
            subscription = dispatcher_pb2.LogSubscription(
                subscription_id=part, task_ids=[task.id for task in tasks], options=reader.options
            )
            self._reader_by_subscription[part] = reader
            reader.subscriptions[part] = NodeSubscription(
                node_id, [task.id for task in tasks], asyncio.get_running_loop().time()
            )
            if not self._send(node_id, dispatcher_pb2.ManagerMessage(log_subscription=subscription)):
                self._fail_subscription(reader, part, "it has no session with the leader")

    def _unsubscribe(self, reader: LogReader) -> None:
        reader.close()
        for part, asked in reader.subscriptions.items():
            self._reader_by_subscription.pop(part, None)
            close = dispatcher_pb2.LogSubscription(subscription_id=part, close=True)
            self._send(asked.node_id, dispatcher_pb2.ManagerMessage(log_subscription=close))
        reader.subscriptions.clear()

    async def _next(self, reader: LogReader, selection: LogSelection) -> dispatcher_pb2.LogBatch | None:
        """The next batch; None when there will be no more."""
        while True:
            self._refresh_subscriptions(reader, selection)
            batch = reader.take()
            if batch is not None:
                return batch
            if not reader.subscriptions and not self._may_get_new_tasks(reader, selection):
                return None
            await reader.wait(_TICK_SECONDS)

    def _may_get_new_tasks(self, reader: LogReader, selection: LogSelection) -> bool:
        view = self._store.view()
        return reader.options.follow and any(view.services.get(service) for service in selection.service_ids)

    def _refresh_subscriptions(self, reader: LogReader, selection: LogSelection) -> None:
        """New tasks join; parts of nodes that are gone or stay silent are given up."""
        now = asyncio.get_running_loop().time()
        if now < reader.next_check_at:
            return
        reader.next_check_at = now + _TICK_SECONDS
        for part, asked in list(reader.subscriptions.items()):
            late = not asked.has_answered and not reader.options.follow
            if not self._is_connected(asked.node_id):
                self._fail_subscription(reader, part, "its session with the leader ended")
            elif late and now - asked.requested_at > _FIRST_BATCH_SECONDS:
                self._fail_subscription(reader, part, f"it sent nothing within {_FIRST_BATCH_SECONDS:g} s")
        if reader.options.follow or not reader.requested_task_ids:
            self._subscribe(reader, selection)

    def _fail_subscription(self, reader: LogReader, part: str, reason: str) -> None:
        asked = reader.subscriptions[part]
        view = self._store.view()
        node = view.nodes.get(asked.node_id)
        names = ", ".join(display_name(task) for task_id in asked.task_ids if (task := view.tasks.get(task_id)))
        where = display_name(node) if node is not None else asked.node_id
        self._close_subscription(reader, part)
        error = f"error from node {where} for {names}: {reason}"
        line = dispatcher_pb2.LogLine(
            task_id=asked.task_ids[0], timestamp_ns=wall_clock(), stream=SYSTEM_ERROR_STREAM, data=error.encode()
        )
        reader.fail(dispatcher_pb2.LogBatch(subscription_id=part, lines=[line], error=error))

    def _close_subscription(self, reader: LogReader, part: str) -> None:
        reader.subscriptions.pop(part, None)
        self._reader_by_subscription.pop(part, None)
        reader.wake()
