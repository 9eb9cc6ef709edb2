"""Session stream: one stream with one manager, from hello to its end; heartbeats, statuses and descriptions up, assignments down.

Invariant: everything on the stream is bounded and has a deadline. Any failure ends the whole stream, and the session opens another.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from grpc import aio

from agent.session.assignment_assembler import AssignmentAssembler, AssignmentUpdate
from agent.session.interfaces import ImagesPort, NetworksPort, WorkerPort
from agent.session.log_publisher import LogPublisher
from agent.session.log_tails import LogTails
from agent.session.network_checks import NetworkCheckQueue
from agent.session.task_usages import TaskUsageAnswers
from covey import codec
from covey.clock import SECOND
from covey.errors import DeadlineError, UnavailableError
from covey.objects import NodeDescription
from covey.task_group import TaskGroup
from coveypb.v1 import dispatcher_pb2, dispatcher_pb2_grpc

StateCallback = Callable[[dispatcher_pb2.SessionState], None]
TaskCallCallback = Callable[[dispatcher_pb2.OpenTaskCall], None]

MAX_QUEUED_UPDATES = 16
_HELLO_SECONDS = 5.0
_WRITE_SECONDS = 5.0
_ACK_SECONDS = 15.0
_SILENCE_TIMEOUT_PERIODS = 2.5
_DEFAULT_PERIOD_SECONDS = 1.0
_IMAGE_REPORT_SECONDS = 0.2
MAX_OPERATOR_FETCHES = 16


def _refuse_task_call(_request: dispatcher_pb2.OpenTaskCall) -> None:
    """Where no tasks are called: the caller is told after its deadline."""


class SessionStream:
    """Used once. ``established`` says whether the manager accepted the session; ``next_description`` waits for a changed description."""

    def __init__(
        self,
        worker: WorkerPort,
        images: ImagesPort,
        networks: NetworksPort,
        on_state: StateCallback,
        next_description: Callable[[], Awaitable[NodeDescription]],
        *,
        on_task_call: TaskCallCallback = _refuse_task_call,
    ) -> None:
        self.established = False
        self._worker = worker
        self._images = images
        self._checks = NetworkCheckQueue(networks)
        self._usages = TaskUsageAnswers(worker)
        self._statuses = worker.statuses
        self._on_state = on_state
        self._next_description = next_description
        self._on_task_call = on_task_call
        self._assembler = AssignmentAssembler()
        self._updates: asyncio.Queue[AssignmentUpdate] = asyncio.Queue(MAX_QUEUED_UPDATES)
        self._period_seconds = _DEFAULT_PERIOD_SECONDS
        self._period_changed = asyncio.Event()
        self._sequence = 0
        self._fetches = 0
        self._acknowledged = asyncio.Event()
        self._write_lock = asyncio.Lock()
        self._call: Any = None

    async def run(self, channel: aio.Channel, description: NodeDescription, addr: str) -> None:
        """Runs the stream. Returns if the manager ends it normally; otherwise raises (in a group) the error that ended it."""
        stub: Any = dispatcher_pb2_grpc.DispatcherStub(channel)
        self._call = stub.Session()
        hello = dispatcher_pb2.Hello(addr=addr)
        codec.write(description, hello.description)
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                await self._write(dispatcher_pb2.AgentMessage(hello=hello))
                first = await self._read()
            self._handle_first_message(first)
            async with TaskGroup() as group:
                publisher = LogPublisher(self._worker, stub, group)
                group.create_task(self._send_heartbeats())
                group.create_task(self._send_statuses())
                group.create_task(self._send_descriptions())
                group.create_task(self._send_images())
                group.create_task(self._apply_updates())
                group.create_task(self._answer_network_checks())
                group.create_task(self._answer_measurements())
                group.create_task(LogTails(self._worker).run(self._send_log_tails))
                self._images.set_dispatcher(stub)
                self._worker.set_dispatcher(stub)
                await self._receive(publisher, group)
        finally:
            self._images.set_dispatcher(None)
            self._worker.set_dispatcher(None)
            self._call.cancel()

    def _handle_first_message(self, message: dispatcher_pb2.ManagerMessage) -> None:
        if message.WhichOneof("message") != "session":
            raise UnavailableError("the manager began the session with another message than its state")
        self.established = True
        self._handle_state(message.session)

    def _handle_state(self, state: dispatcher_pb2.SessionState) -> None:
        if state.heartbeat_period_ns > 0:
            self._period_seconds = state.heartbeat_period_ns / SECOND
            self._period_changed.set()
        self._on_state(state)

    async def _receive(self, publisher: LogPublisher, group: TaskGroup) -> None:
        while True:
            try:
                async with asyncio.timeout(self._period_seconds * _SILENCE_TIMEOUT_PERIODS):
                    message = await self._read()
            except TimeoutError:
                raise DeadlineError("the manager sent nothing in time") from None
            match message.WhichOneof("message"):
                case "session":
                    self._handle_state(message.session)
                case "assignments":
                    update = self._assembler.add_message(message.assignments)
                    if update is not None:
                        await self._updates.put(update)
                case "status_ack":
                    if message.status_ack.sequence == self._sequence:
                        self._acknowledged.set()
                case "log_subscription":
                    publisher.handle_subscription(message.log_subscription)
                case "fetch_image":
                    self._start_fetch(message.fetch_image, group)
                case "check_networks":
                    self._checks.add(message.check_networks)
                case "measure_tasks":
                    self._usages.add(message.measure_tasks)
                case "open_task_call":
                    self._on_task_call(message.open_task_call)
                case _:
                    pass  # a heartbeat acknowledgement carries nothing

    async def _apply_updates(self) -> None:
        """Applies assignments in order, beside the reader: acknowledgements are read while the worker is busy."""
        while True:
            update = await self._updates.get()
            await self._worker.apply(update.changes, complete=update.complete)

    async def _send_heartbeats(self) -> None:
        while True:
            await self._write(dispatcher_pb2.AgentMessage(heartbeat=dispatcher_pb2.Heartbeat()))
            self._period_changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._period_seconds):
                    await self._period_changed.wait()

    async def _send_descriptions(self) -> None:
        while True:
            message = dispatcher_pb2.AgentMessage()
            codec.write(await self._next_description(), message.description)
            await self._write(message)

    async def _send_images(self) -> None:
        """Reports the images at the start and after each change; several changes at once are one report."""
        sent = b""
        while True:
            version, report = self._images.report_version, self._images.report()
            serialized = report.SerializeToString(deterministic=True)
            if serialized != sent:
                await self._write(dispatcher_pb2.AgentMessage(images=report))
                sent = serialized
                await asyncio.sleep(_IMAGE_REPORT_SECONDS)
            await self._images.wait_newer_report(version)

    def _start_fetch(self, request: dispatcher_pb2.FetchImage, group: TaskGroup) -> None:
        """Fetches an image for the operator beside everything else."""

        async def fetch() -> None:
            result = await self._images.fetch_for_operator(request)
            self._fetches -= 1
            await self._write(dispatcher_pb2.AgentMessage(fetch_result=result))

        async def refuse() -> None:
            error = f"this node already fetches {MAX_OPERATOR_FETCHES} images; try again later"
            result = dispatcher_pb2.FetchResult(fetch_id=request.fetch_id, error=error)
            await self._write(dispatcher_pb2.AgentMessage(fetch_result=result))

        if self._fetches >= MAX_OPERATOR_FETCHES:
            group.create_task(refuse())
            return
        self._fetches += 1
        group.create_task(fetch())

    async def _answer_network_checks(self) -> None:
        """Checks the host's networks when a manager asks, beside everything else, one check at a time."""
        while True:
            await self._write(dispatcher_pb2.AgentMessage(network_check_result=await self._checks.next_result()))

    async def _answer_measurements(self) -> None:
        while True:
            await self._write(dispatcher_pb2.AgentMessage(task_usages=await self._usages.next_answer()))

    async def _send_log_tails(self, tails: dispatcher_pb2.LogTails) -> None:
        await self._write(dispatcher_pb2.AgentMessage(log_tails=tails))

    async def _send_statuses(self) -> None:
        while True:
            await self._statuses.wait()
            sent = self._statuses.batch()
            self._sequence += 1
            self._acknowledged.clear()
            message = dispatcher_pb2.AgentMessage(statuses=dispatcher_pb2.StatusBatch(sequence=self._sequence))
            for task_id, status in sent.items():
                codec.write(status, message.statuses.updates.add(task_id=task_id).status)
            await self._write(message)
            try:
                async with asyncio.timeout(_ACK_SECONDS):
                    await self._acknowledged.wait()
            except TimeoutError:
                raise DeadlineError("the manager did not acknowledge statuses in time") from None
            self._statuses.acknowledge(sent)

    async def _read(self) -> dispatcher_pb2.ManagerMessage:
        message = await self._call.read()
        if message is aio.EOF:
            await self._raise_status()
        return message  # type: ignore[no-any-return]

    async def _write(self, message: dispatcher_pb2.AgentMessage) -> None:
        async with self._write_lock, asyncio.timeout(_WRITE_SECONDS):
            try:
                await self._call.write(message)
            except asyncio.InvalidStateError:
                await self._raise_status()

    async def _raise_status(self) -> None:
        """Raises the status of the ended stream as an error."""
        code = await self._call.code()
        raise aio.AioRpcError(
            code,
            await self._call.initial_metadata(),
            await self._call.trailing_metadata(),
            details=await self._call.details() or "the manager ended the session",
        )
