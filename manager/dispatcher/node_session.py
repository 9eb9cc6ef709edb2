"""Node session: one agent's stream on the leader; reads its messages in order and writes its assignments.

Invariant: only acknowledgements and log subscriptions are queued for a slow agent, and both are bounded. Assignment diffs are computed
when they can be written, from the state of that moment. The stream is read all the time: what the agent reports is stored by a task of
its own, in order, so heartbeats never queue behind a slow store. Any failure ends the stream; the agent begins another with a complete
set.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from grpc import aio

from covey import codec
from covey.errors import InvalidArgumentError, UnavailableError
from covey.objects import NodeDescription, TaskStatus
from covey.task_group import TaskGroup
from coveypb.v1 import dispatcher_pb2
from manager.dispatcher.assignment_cache import NodeAssignments, SentAssignments
from manager.dispatcher.assignment_wire import split_into_messages

HELLO_SECONDS = 5.0
WRITE_SECONDS = 10.0
MAX_OUTBOX = 1024
MAX_UNSTORED_REPORTS = 16
"""An agent sends one batch of statuses at a time and seldom a description; one that sends more without an answer loses its session."""
MAX_STATUSES_PER_BATCH = 256

TaskStatuses = list[tuple[str, TaskStatus]]


class NodeSession:
    """The session of a node that said hello. The callables connect it to the dispatcher's term."""

    def __init__(
        self,
        node_id: str,
        session_id: str,
        *,
        assignments: Callable[[], NodeAssignments],
        state: Callable[[], dispatcher_pb2.SessionState],
        on_message: Callable[[], None],
        on_description: Callable[[NodeDescription], Awaitable[None]],
        on_statuses: Callable[[TaskStatuses], Awaitable[None]],
        on_images: Callable[[dispatcher_pb2.ImageReport], None],
        on_fetch_result: Callable[[dispatcher_pb2.FetchResult], None],
        on_network_check: Callable[[dispatcher_pb2.NetworkCheckResult], None],
        on_log_tails: Callable[[dispatcher_pb2.LogTails], None],
        on_task_usages: Callable[[dispatcher_pb2.TaskUsages], None] = lambda _usages: None,
    ) -> None:
        self.node_id = node_id
        self.session_id = session_id
        self._assignments = assignments
        self._state = state
        self._on_message = on_message
        self._on_description = on_description
        self._on_statuses = on_statuses
        self._on_images = on_images
        self._on_fetch_result = on_fetch_result
        self._on_network_check = on_network_check
        self._on_task_usages = on_task_usages
        self._on_log_tails = on_log_tails
        self._reports: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue(MAX_UNSTORED_REPORTS)
        self._outbox: deque[dispatcher_pb2.ManagerMessage] = deque()
        self._wake = asyncio.Event()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sent = SentAssignments()
        self._sent_state = b""
        self._state_changed = True
        self._version = 0

    def wake(self) -> None:
        """The node's assignments may have changed."""
        self._wake.set()

    def wake_state(self) -> None:
        """The session state may have changed."""
        self._state_changed = True
        self._wake.set()

    def end(self, error: Exception) -> None:
        """Ends the stream with this error."""
        if not self._ended.done():
            self._ended.set_exception(error)

    def send(self, message: dispatcher_pb2.ManagerMessage) -> None:
        """Queues a small message. An agent that does not read them loses its session."""
        if len(self._outbox) >= MAX_OUTBOX:
            self.end(UnavailableError(f"the agent has left more than {MAX_OUTBOX} messages unread"))
            return
        self._outbox.append(message)
        self._wake.set()

    async def run(self, context: Any) -> None:
        """Serves the stream until the agent ends it. Raises (in a group) the error that ended it otherwise."""
        async with TaskGroup() as group:
            helpers = [
                group.create_task(self._watch_end()),
                group.create_task(self._write_all(context)),
                group.create_task(self._store_reports()),
            ]
            try:
                await self._read_all(context)
            finally:
                for helper in helpers:
                    helper.cancel()

    async def _watch_end(self) -> None:
        await self._ended

    async def _read_all(self, context: Any) -> None:
        while True:
            message = await context.read()
            if message is aio.EOF:
                return
            self._on_message()
            match message.WhichOneof("message"):
                case "heartbeat":
                    self.send(dispatcher_pb2.ManagerMessage(heartbeat_ack=dispatcher_pb2.HeartbeatAck()))
                case "statuses":
                    self._handle_statuses(message.statuses)
                case "description":
                    description = codec.from_wire(NodeDescription, message.description)
                    self._enqueue(partial(self._on_description, description))
                case "images":
                    self._on_images(message.images)
                case "fetch_result":
                    self._on_fetch_result(message.fetch_result)
                case "network_check_result":
                    self._on_network_check(message.network_check_result)
                case "task_usages":
                    self._on_task_usages(message.task_usages)
                case "log_tails":
                    self._on_log_tails(message.log_tails)
                case other:
                    raise InvalidArgumentError(f"an agent must not send {other} within a session")

    def _handle_statuses(self, batch: dispatcher_pb2.StatusBatch) -> None:
        if len(batch.updates) > MAX_STATUSES_PER_BATCH:
            raise InvalidArgumentError(
                f"a batch of {len(batch.updates)} statuses is over the bound of {MAX_STATUSES_PER_BATCH}"
            )
        statuses = [(update.task_id, codec.from_wire(TaskStatus, update.status)) for update in batch.updates]

        async def store() -> None:
            await self._on_statuses(statuses)
            self.send(dispatcher_pb2.ManagerMessage(status_ack=dispatcher_pb2.StatusAck(sequence=batch.sequence)))

        self._enqueue(store)

    def _enqueue(self, store: Callable[[], Awaitable[None]]) -> None:
        try:
            self._reports.put_nowait(store)
        except asyncio.QueueFull:
            raise UnavailableError(
                f"the agent sent more than {MAX_UNSTORED_REPORTS} reports that are not stored yet"
            ) from None

    async def _store_reports(self) -> None:
        while True:
            store = await self._reports.get()
            await store()

    async def _write_all(self, context: Any) -> None:
        while True:
            self._wake.clear()
            await self._write_state(context)
            await self._write_outbox(context)
            await self._write_assignments(context)
            await self._wake.wait()

    async def _write_state(self, context: Any) -> None:
        if not self._state_changed:
            return
        self._state_changed = False
        state = self._state()
        serialized = state.SerializeToString(deterministic=True)
        if serialized != self._sent_state:
            self._sent_state = serialized
            await _write(context, dispatcher_pb2.ManagerMessage(session=state))

    async def _write_outbox(self, context: Any) -> None:
        while self._outbox:
            await _write(context, self._outbox.popleft())

    async def _write_assignments(self, context: Any) -> None:
        complete, changes = self._sent.advance(self._assignments())
        if not changes and not complete:
            return
        applies_to = "" if complete else f"{self.session_id}/{self._version}"
        self._version += 1
        results_in = f"{self.session_id}/{self._version}"
        messages = split_into_messages(changes)
        for number, message in enumerate(messages):
            message.complete = complete
            message.applies_to = applies_to
            message.results_in = results_in
            message.more = number < len(messages) - 1
            await _write(context, dispatcher_pb2.ManagerMessage(assignments=message))
            await self._write_outbox(context)


async def read_hello(context: Any) -> dispatcher_pb2.Hello:
    """Reads the first message of a stream. Raises InvalidArgumentError if it is not a hello within ``HELLO_SECONDS``."""
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            message = await context.read()
    except TimeoutError:
        raise InvalidArgumentError(f"the agent did not send hello within {HELLO_SECONDS:g} s") from None
    if message is aio.EOF or message.WhichOneof("message") != "hello":
        raise InvalidArgumentError("a session begins with hello")
    return message.hello  # type: ignore[no-any-return]


async def _write(context: Any, message: dispatcher_pb2.ManagerMessage) -> None:
    try:
        async with asyncio.timeout(WRITE_SECONDS):
            await context.write(message)
    except TimeoutError:
        raise UnavailableError(f"the agent read nothing for {WRITE_SECONDS:g} s") from None
