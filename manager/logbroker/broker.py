"""The log broker: a request for logs becomes subscriptions of the nodes that hold the tasks, their lines one merged stream.

Law: queues are bounded from the reader back to the agent's file. A node that has no session, or whose session ends, is an error line in
the result and never a hang. New tasks of a followed service join. Runs on the leader, which holds the sessions.
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
from manager.control.listing import name_of
from manager.logbroker.reader import Part, Reader
from manager.logbroker.selection import Selection, enriched, select, tasks_of
from manager.store import Store

log = logging.getLogger(__name__)

MAX_READERS = 64
SYSTEM_ERROR = 3
"""The stream of a line that says why others are missing."""
_FIRST_WORD_SECONDS = 10.0
_TICK_SECONDS = 0.5
_SESSION_SECONDS = 2.0
_SESSION_TICK_SECONDS = 0.05

Send = Callable[[str, dispatcher_pb2.ManagerMessage], bool]


class LogBroker:
    """One a manager process. ``bind`` gives it the way to the nodes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._send: Send = lambda _node, _message: False
        self._connected: Callable[[str], bool] = lambda _node: False
        self._parts: dict[str, Reader] = {}
        self._readers = 0

    def bind(self, send: Send, connected: Callable[[str], bool]) -> None:
        self._send = send
        self._connected = connected

    async def logs(self, request: control_pb2.LogsRequest) -> AsyncIterator[dispatcher_pb2.LogBatch]:
        """Batches of lines; a batch with ``error`` is a node's reason for having no more, and a line of stream 3 says it in its place.

        Raises:
            NotFoundError: a service or task does not exist; UnavailableError: too many readers.
        """
        selection = select(self._store.view(), request)
        if self._readers >= MAX_READERS:
            raise UnavailableError(f"{MAX_READERS} log readers are served already; try again later")
        reader = Reader(request.options)
        self._readers += 1
        try:
            await self._wait_for_sessions(selection)
            while (batch := await self._next(reader, selection)) is not None:
                if batch.lines or batch.error:
                    yield enriched(self._store.view(), batch)
        finally:
            self._readers -= 1
            self._unsubscribe(reader)

    async def publish(self, node_id: str, batches: AsyncIterator[dispatcher_pb2.LogBatch]) -> None:
        """What one node sends for one subscription. Waits for the reader."""
        part = ""
        try:
            async for batch in batches:
                reader = self._parts.get(batch.subscription_id)
                if reader is None:
                    raise NotFoundError(f"log subscription {batch.subscription_id} is over")
                asked = reader.parts[batch.subscription_id]
                if asked.node_id != node_id or any(line.task_id not in asked.task_ids for line in batch.lines):
                    raise PermissionDeniedError(f"node {node_id} was not asked for these logs")
                if part not in {"", batch.subscription_id}:
                    raise InvalidArgumentError("one call publishes one subscription")
                part = batch.subscription_id
                asked.spoke = True
                reason = batch.error
                batch.ClearField("error")
                await reader.put(batch)
                if reason and part in reader.parts:  # it may have been given up meanwhile
                    self._give_up(reader, part, reason)
                elif batch.closed:
                    self._close_part(reader, part)
        finally:
            reader = self._parts.get(part)
            if reader is not None:  # the stream broke before the agent had said that this was all
                self._give_up(reader, part, "its stream of log lines broke")

    async def _wait_for_sessions(self, selection: Selection) -> None:
        """Behind a change of leader the nodes come back one by one: those that count as ready get a moment for it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SESSION_SECONDS
        while loop.time() < deadline and self._absent(selection):  # noqa: ASYNC110 - sessions come without a word
            await asyncio.sleep(_SESSION_TICK_SECONDS)

    def _absent(self, selection: Selection) -> bool:
        view = self._store.view()
        nodes = {task.node_id for task in tasks_of(view, selection) if task.node_id}
        ready = {
            node.id for node_id in nodes if (node := view.nodes.get(node_id)) and node.status.state is NodeState.READY
        }
        return any(not self._connected(node_id) for node_id in ready)

    def _subscribe(self, reader: Reader, selection: Selection) -> None:
        """Asks the nodes of all tasks that are new to the reader."""
        by_node: dict[str, list[Task]] = {}
        for task in tasks_of(self._store.view(), selection):
            if task.id not in reader.seen and task.node_id:
                reader.seen.add(task.id)
                by_node.setdefault(task.node_id, []).append(task)
        for node_id, tasks in by_node.items():
            part = new_id()
            subscription = dispatcher_pb2.LogSubscription(
                subscription_id=part, task_ids=[task.id for task in tasks], options=reader.options
            )
            self._parts[part] = reader
            reader.parts[part] = Part(node_id, [task.id for task in tasks], asyncio.get_running_loop().time())
            if not self._send(node_id, dispatcher_pb2.ManagerMessage(log_subscription=subscription)):
                self._give_up(reader, part, "it has no session with the leader")

    def _unsubscribe(self, reader: Reader) -> None:
        reader.close()
        for part, asked in reader.parts.items():
            self._parts.pop(part, None)
            close = dispatcher_pb2.LogSubscription(subscription_id=part, close=True)
            self._send(asked.node_id, dispatcher_pb2.ManagerMessage(log_subscription=close))
        reader.parts.clear()

    async def _next(self, reader: Reader, selection: Selection) -> dispatcher_pb2.LogBatch | None:
        """The next batch; None when there will be no more."""
        while True:
            self._look_again(reader, selection)
            batch = reader.take()
            if batch is not None:
                return batch
            if not reader.parts and not self._may_grow(reader, selection):
                return None
            await reader.wait(_TICK_SECONDS)

    def _may_grow(self, reader: Reader, selection: Selection) -> bool:
        view = self._store.view()
        return reader.options.follow and any(view.services.get(service) for service in selection.service_ids)

    def _look_again(self, reader: Reader, selection: Selection) -> None:
        """New tasks join; parts of nodes that are gone or stay silent are given up."""
        now = asyncio.get_running_loop().time()
        if now < reader.look_at:
            return
        reader.look_at = now + _TICK_SECONDS
        for part, asked in list(reader.parts.items()):
            late = not asked.spoke and not reader.options.follow
            if not self._connected(asked.node_id):
                self._give_up(reader, part, "its session with the leader ended")
            elif late and now - asked.asked_at > _FIRST_WORD_SECONDS:
                self._give_up(reader, part, f"it sent nothing within {_FIRST_WORD_SECONDS:g} s")
        if reader.options.follow or not reader.seen:
            self._subscribe(reader, selection)

    def _give_up(self, reader: Reader, part: str, reason: str) -> None:
        asked = reader.parts[part]
        view = self._store.view()
        node = view.nodes.get(asked.node_id)
        names = ", ".join(name_of(task) for task_id in asked.task_ids if (task := view.tasks.get(task_id)))
        where = name_of(node) if node is not None else asked.node_id
        self._close_part(reader, part)
        error = f"error from node {where} for {names}: {reason}"
        line = dispatcher_pb2.LogLine(
            task_id=asked.task_ids[0], timestamp_ns=wall_clock(), stream=SYSTEM_ERROR, data=error.encode()
        )
        reader.fail(dispatcher_pb2.LogBatch(subscription_id=part, lines=[line], error=error))

    def _close_part(self, reader: Reader, part: str) -> None:
        reader.parts.pop(part, None)
        self._parts.pop(part, None)
        reader.poke()
