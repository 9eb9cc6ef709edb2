"""Log broker: turns a log request into subscriptions of the nodes that hold the tasks, and merges their lines into one stream.

Invariant: every queue from the reader back to the agent's file is bounded. A node without a session, or whose session ends, gives an error
line in the result and never a hang; while logs are followed, only one that is DOWN does, and others go on where they were. New tasks of a
followed service are included. Runs on the leader, which holds the sessions.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from covey.clock import wall_clock
from covey.display_name import display_name
from covey.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError, UnavailableError
from covey.ids import new_id
from covey.objects import Task
from covey.states import NodeState
from coveypb.v1 import control_pb2, dispatcher_pb2
from manager.logbroker.kept_tails import KeptTails, wanted_lines
from manager.logbroker.log_reader import LogReader, NodeSubscription
from manager.logbroker.selection import LogSelection, add_task_details, resolve_selection, selected_tasks
from manager.store import Store

log = logging.getLogger(__name__)

MAX_READERS = 64
SYSTEM_ERROR_STREAM = 3
"""The stream number of a line that says why other lines are missing."""
_FIRST_BATCH_SECONDS = 10.0
_TICK_SECONDS = 0.5
_SESSION_SECONDS = 2.0
_SESSION_TICK_SECONDS = 0.05

SendCallback = Callable[[str, dispatcher_pb2.ManagerMessage], bool]


class LogBroker:
    """One per manager process. ``bind`` connects it to the nodes' sessions."""

    def __init__(self, store: Store, tails: KeptTails | None = None) -> None:
        """``tails`` are the ends of logs that this manager keeps."""
        self._store = store
        self._tails = tails or KeptTails()
        self._send: SendCallback = lambda _node, _message: False
        self._is_connected: Callable[[str], bool] = lambda _node: False
        self._reader_by_subscription: dict[str, LogReader] = {}
        self._reader_count = 0

    def bind(self, send: SendCallback, is_connected: Callable[[str], bool]) -> None:
        """Sets how to reach nodes: ``send`` returns False for a node without a session."""
        self._send = send
        self._is_connected = is_connected

    async def logs(self, request: control_pb2.LogsRequest) -> AsyncIterator[dispatcher_pb2.LogBatch]:
        """Batches of log lines, in order of time across nodes. A batch with ``error`` says why a node sends no more; its line of stream 3
        says the same.

        Raises:
            NotFoundError: a service or task does not exist; UnavailableError: too many readers, or this manager stopped leading.
        """
        selection = resolve_selection(self._store.view(), request)
        if self._reader_count >= MAX_READERS:
            raise UnavailableError(f"this manager already serves {MAX_READERS} log readers; try again later")
        reader = LogReader(request.options)
        term = self._store.consensus.leadership.term
        self._reader_count += 1
        try:
            await self._wait_for_sessions(selection)
            while (batch := await self._next(reader, selection, term)) is not None:
                if batch.lines or batch.error:
                    yield add_task_details(self._store.view(), batch)
        finally:
            self._reader_count -= 1
            self._unsubscribe(reader)

    def keep_tails(self, node_id: str, tails: dispatcher_pb2.LogTails) -> None:
        """Keeps what a node sent of the ends of its tasks' logs. Those of other tasks are ignored."""
        view = self._store.view()
        for tail in tails.tails:
            task = view.tasks.get(tail.task_id)
            if task is not None and task.node_id == node_id:
                self._tails.put(tail)

    async def publish(self, node_id: str, batches: AsyncIterator[dispatcher_pb2.LogBatch]) -> None:
        """Takes what one node sends for one subscription. Waits for the reader."""
        subscription_id = ""
        try:
            async for batch in batches:
                reader = self._reader_by_subscription.get(batch.subscription_id)
                if reader is None:
                    raise NotFoundError(f"log subscription {batch.subscription_id} is closed")
                subscription = reader.subscriptions[batch.subscription_id]
                if subscription.node_id != node_id or any(
                    line.task_id not in subscription.task_ids for line in batch.lines
                ):
                    raise PermissionDeniedError(f"node {node_id} is not subscribed to these logs")
                if subscription_id not in {"", batch.subscription_id}:
                    raise InvalidArgumentError("one call publishes one subscription")
                subscription_id = batch.subscription_id
                subscription.has_answered = True
                reason = batch.error
                await reader.put(subscription_id, batch.lines)
                if reason and subscription_id in reader.subscriptions:  # it may have failed meanwhile
                    self._fail_subscription(reader, subscription_id, reason)
                elif batch.closed:
                    self._close_subscription(reader, subscription_id)
        finally:
            reader = self._reader_by_subscription.get(subscription_id)
            if reader is not None:  # the stream broke before the agent sent its last batch
                self._lose_subscription(reader, subscription_id, "its stream of log lines broke")

    async def _wait_for_sessions(self, selection: LogSelection) -> None:
        """After a change of leader the nodes return one by one. Waits a moment for those that are READY."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SESSION_SECONDS
        while loop.time() < deadline and self._sessions_missing(selection):  # noqa: ASYNC110 - no event announces a session
            await asyncio.sleep(_SESSION_TICK_SECONDS)

    def _sessions_missing(self, selection: LogSelection) -> bool:
        view = self._store.view()
        nodes = {task.node_id for task in selected_tasks(view, selection, self._tails) if task.node_id}
        ready = {
            node.id for node_id in nodes if (node := view.nodes.get(node_id)) and node.status.state is NodeState.READY
        }
        return any(not self._is_connected(node_id) for node_id in ready)

    def _subscribe(self, reader: LogReader, selection: LogSelection) -> None:
        """Subscribes to all tasks that are new to the reader, one subscription per node."""
        by_node: dict[str, list[Task]] = {}
        for task in selected_tasks(self._store.view(), selection, self._tails):
            if task.id not in reader.requested_task_ids and task.node_id:
                by_node.setdefault(task.node_id, []).append(task)
        for node_id, tasks in by_node.items():
            task_ids = [task.id for task in tasks]
            if not self._is_connected(node_id):
                if not (reader.options.follow and self._may_return(node_id)):  # else the next tick tries again
                    self._read_kept(reader, node_id, task_ids)
                continue
            subscription_id = new_id()
            reader.open(subscription_id, NodeSubscription(node_id, task_ids, asyncio.get_running_loop().time()))
            self._reader_by_subscription[subscription_id] = reader
            message = dispatcher_pb2.LogSubscription(
                subscription_id=subscription_id,
                task_ids=task_ids,
                options=reader.options_for(task_ids),
            )
            if not self._send(node_id, dispatcher_pb2.ManagerMessage(log_subscription=message)):
                self._fail_subscription(reader, subscription_id, "it has no session with the leader")

    def _read_kept(self, reader: LogReader, node_id: str, task_ids: list[str]) -> None:
        """Takes what is kept of the output of tasks whose node is gone, and says that it is not all."""
        cursors = {cursor.task_id: cursor for cursor in reader.cursors.of(task_ids)}
        for task_id in task_ids:
            kept = wanted_lines(self._tails.lines(task_id), reader.options, cursors.get(task_id))
            reader.add_kept(task_id, kept)
        reader.lost_task_ids.update(task_ids)
        reader.requested_task_ids.update(task_ids)
        some = any(task_id in self._tails for task_id in task_ids)
        shown = "; only the kept end of the output is shown" if some else ""
        subscription = NodeSubscription(node_id, task_ids, 0.0)
        self._report(reader, subscription, "", f"it has no session with the leader{shown}")

    def _may_return(self, node_id: str) -> bool:
        """Whether a node without a session is not DOWN yet."""
        node = self._store.view().nodes.get(node_id)
        return node is not None and node.status.state is not NodeState.DOWN

    def _unsubscribe(self, reader: LogReader) -> None:
        reader.close()
        for subscription_id, subscription in reader.subscriptions.items():
            self._reader_by_subscription.pop(subscription_id, None)
            self._send_close(subscription_id, subscription.node_id)
        reader.subscriptions.clear()

    def _send_close(self, subscription_id: str, node_id: str) -> None:
        close = dispatcher_pb2.LogSubscription(subscription_id=subscription_id, close=True)
        self._send(node_id, dispatcher_pb2.ManagerMessage(log_subscription=close))

    async def _next(self, reader: LogReader, selection: LogSelection, term: int) -> dispatcher_pb2.LogBatch | None:
        """The next batch; None if there will be no more. Raises UnavailableError once this manager does not lead in ``term``."""
        while True:
            leadership = self._store.consensus.leadership
            if not leadership.is_leader or leadership.term != term:
                raise UnavailableError("the leader changed while its log lines were sent: ask again for the rest")
            self._refresh_subscriptions(reader, selection)
            batch = reader.take()
            if batch is not None:
                return batch
            if not reader.subscriptions and not self._may_get_new_tasks(reader, selection):
                return None
            await reader.wait(_TICK_SECONDS)

    def _may_get_new_tasks(self, reader: LogReader, selection: LogSelection) -> bool:
        """Whether a service that is followed exists, or a task waits for its node."""
        view = self._store.view()
        if not reader.options.follow:
            return False
        tasks = selected_tasks(view, selection, self._tails)
        waits = any(task.node_id and task.id not in reader.requested_task_ids for task in tasks)
        return waits or any(view.services.get(service) for service in selection.service_ids)

    def _refresh_subscriptions(self, reader: LogReader, selection: LogSelection) -> None:
        """Subscribes to new tasks, and fails subscriptions of nodes that are disconnected or silent."""
        now = asyncio.get_running_loop().time()
        if now < reader.next_check_at:
            return
        reader.next_check_at = now + _TICK_SECONDS
        for subscription_id, subscription in list(reader.subscriptions.items()):
            is_waiting = not subscription.has_answered and not reader.options.follow
            if not self._is_connected(subscription.node_id):
                self._lose_subscription(reader, subscription_id, "its session with the leader ended")
            elif is_waiting and now - subscription.requested_at > _FIRST_BATCH_SECONDS:
                self._fail_subscription(reader, subscription_id, f"it sent nothing within {_FIRST_BATCH_SECONDS:g} s")
        if reader.options.follow or not reader.requested_task_ids:
            self._forget_returned(reader)
            self._subscribe(reader, selection)

    def _forget_returned(self, reader: LogReader) -> None:
        """Asks again for the tasks whose node was reported as gone and has a session now."""
        view = self._store.view()
        for task_id in list(reader.lost_task_ids):
            task = view.tasks.get(task_id)
            if task is None or self._is_connected(task.node_id):
                reader.lost_task_ids.discard(task_id)
                reader.requested_task_ids.discard(task_id)

    def _lose_subscription(self, reader: LogReader, subscription_id: str, reason: str) -> None:
        """A subscription whose connection broke. A reader that follows goes on from the same lines once the node is back, and is told
        only of a node that is DOWN by then.
        """
        if not reader.options.follow:
            self._fail_subscription(reader, subscription_id, reason)
            return
        subscription = reader.subscriptions[subscription_id]
        self._close_subscription(reader, subscription_id)
        self._send_close(subscription_id, subscription.node_id)
        reader.requested_task_ids.difference_update(subscription.task_ids)

    def _fail_subscription(self, reader: LogReader, subscription_id: str, reason: str) -> None:
        subscription = reader.subscriptions[subscription_id]
        self._close_subscription(reader, subscription_id)
        self._report(reader, subscription, subscription_id, reason)

    def _report(self, reader: LogReader, subscription: NodeSubscription, subscription_id: str, reason: str) -> None:
        """Tells the reader why lines of a node's tasks are missing."""
        view = self._store.view()
        node = view.nodes.get(subscription.node_id)
        names = ", ".join(display_name(task) for task_id in subscription.task_ids if (task := view.tasks.get(task_id)))
        node_name = display_name(node) if node is not None else subscription.node_id
        error = f"error from node {node_name} for {names}: {reason}"
        line = dispatcher_pb2.LogLine(
            task_id=subscription.task_ids[0], timestamp_ns=wall_clock(), stream=SYSTEM_ERROR_STREAM, data=error.encode()
        )
        reader.fail(dispatcher_pb2.LogBatch(subscription_id=subscription_id, lines=[line], error=error))

    def _close_subscription(self, reader: LogReader, subscription_id: str) -> None:
        reader.drop(subscription_id)
        self._reader_by_subscription.pop(subscription_id, None)
