"""The agent's session with managers that answer over real gRPC streams on Unix sockets."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from agent.session import AgentSession
from agent.session.interfaces import TaskLogEntry, TaskLogOptions, TaskUsage
from agent.session.status_queue import StatusQueue
from covey.errors import NodeRemovedError
from covey.grpc_errors import LEADER_METADATA, error_metadata
from covey.objects import NodeDescription, TaskStatus, TLSInfo
from covey.objects.assignment import AssignmentChange
from covey.states import TaskState
from coveypb.v1 import dispatcher_pb2, dispatcher_pb2_grpc
from tests.support.no_images import NoImages
from tests.support.no_networks import NoNetworks

PERIOD_NS = 100_000_000
Script = Callable[["Stream"], Any]


class Stream:
    """The manager's end of one session."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._writing = asyncio.Lock()  # gRPC takes one message at a time
        self.hello = dispatcher_pb2.Hello()
        self.heartbeats: asyncio.Queue[Any] = asyncio.Queue()
        self.statuses: asyncio.Queue[dispatcher_pb2.StatusBatch] = asyncio.Queue()
        self.descriptions: asyncio.Queue[Any] = asyncio.Queue()

    async def open(self, *managers: str, period_ns: int = PERIOD_NS) -> None:
        """Reads hello and accepts the session."""
        self.hello = (await self._context.read()).hello
        state = dispatcher_pb2.SessionState(session_id="s", heartbeat_period_ns=period_ns)
        for addr in managers:
            state.managers.add(node_id=addr, addr=addr)
        await self.send(session=state)

    async def send(self, **message: Any) -> None:
        async with self._writing:
            await self._context.write(dispatcher_pb2.ManagerMessage(**message))

    async def serve(self) -> None:
        """Answers heartbeats until the agent goes."""
        while (message := await self._context.read()) is not aio.EOF:
            match message.WhichOneof("message"):
                case "heartbeat":
                    self.heartbeats.put_nowait(message.heartbeat)
                    await self.send(heartbeat_ack=dispatcher_pb2.HeartbeatAck())
                case "statuses":
                    self.statuses.put_nowait(message.statuses)
                case "description":
                    self.descriptions.put_nowait(message.description)

    async def refuse(self, code: grpc.StatusCode, details: str, metadata: Sequence[tuple[str, str]] = ()) -> None:
        await self._context.read()
        await self._context.abort(code, details, trailing_metadata=tuple(metadata))


class Manager(dispatcher_pb2_grpc.DispatcherServicer):
    """A manager that runs its scripts, one for each session; the last one is used again."""

    def __init__(self, folder: Path, name: str, *scripts: Script) -> None:
        self.addr = f"unix:{folder}/{name}"
        self.streams: asyncio.Queue[Stream] = asyncio.Queue()
        self._scripts = list(scripts)
        self._server = aio.server()
        dispatcher_pb2_grpc.add_DispatcherServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self._server.add_insecure_port(self.addr)

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)

    async def Session(self, _requests: Any, context: Any) -> None:  # noqa: N802 - gRPC names its methods so
        stream = Stream(context)
        self.streams.put_nowait(stream)
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        await script(stream)


class Identity:
    """What the session asks of the node's identity, without certificates."""

    tls_info = TLSInfo(trust_root=b"root")
    root = b"root"

    def require(self) -> "Identity":
        return self

    def channel(self, addr: str) -> aio.Channel:
        return aio.insecure_channel(addr)


class Worker:
    """A worker that records what the session applies."""

    def set_dispatcher(self, stub: object) -> None:
        """Single containers are not part of this test."""

    def __init__(self) -> None:
        self.applied: asyncio.Queue[tuple[bool, list[str]]] = asyncio.Queue()
        self.statuses = StatusQueue()

    async def apply(self, changes: Sequence[AssignmentChange], *, complete: bool) -> None:
        self.applied.put_nowait((complete, [change.id for change in changes]))

    async def task_usages(self, task_ids: Sequence[str]) -> dict[str, TaskUsage]:
        return {task_id: TaskUsage(cpu_ns=7, memory_bytes=9) for task_id in task_ids if task_id != "gone"}

    def log_marks(self) -> dict[str, Hashable]:
        return {}

    async def task_logs(self, task_id: str, options: TaskLogOptions) -> AsyncIterator[TaskLogEntry]:  # noqa: ARG002 - the protocol
        return
        yield


class Agent:
    """A session with what it was told."""

    def __init__(self, *managers: str, description_check_seconds: float = 60) -> None:
        self.worker = Worker()
        self.hostname = "one"
        self.refusals: list[str] = []
        self.session = AgentSession(
            Identity(), managers, self.worker, NoImages(), lambda: NodeDescription(hostname=self.hostname),  # type: ignore[arg-type]
            networks=NoNetworks(), addr="192.0.2.1", on_refused=self.refusals.append,
            description_check_seconds=description_check_seconds,
        )  # fmt: skip


@asynccontextmanager
async def running(*managers: Manager, description_check_seconds: float = 60) -> AsyncIterator[Agent]:
    """A running session that knows the first of these managers."""
    agent = Agent(managers[0].addr, description_check_seconds=description_check_seconds)
    for manager in managers:
        await manager.start()
    try:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            task = group.create_task(agent.session.run())
            yield agent
            task.cancel()
    finally:
        for manager in managers:
            await manager.stop()


@pytest.fixture
def folder() -> Any:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


async def accept(stream: Stream) -> None:
    await stream.open()
    await stream.serve()


def assignments(*ids: str, complete: bool = False, applies_to: str = "", results_in: str = "v1") -> Any:
    message = dispatcher_pb2.Assignments(complete=complete, applies_to=applies_to, results_in=results_in)
    for name in ids:
        message.changes.add(id=name).task.id = name
    return message


async def test_a_session_says_hello_sends_heartbeats_and_counts_as_connected(folder: Path) -> None:
    manager = Manager(folder, "m", accept)
    async with running(manager) as agent:
        stream = await manager.streams.get()
        await agent.session.connected.wait()
        assert agent.session.disconnected_seconds == 0
        assert (stream.hello.addr, stream.hello.description.hostname) == ("192.0.2.1", "one")
        assert stream.hello.description.tls.trust_root == b"root"
        for _ in range(3):
            await stream.heartbeats.get()


async def test_a_shorter_heartbeat_period_is_followed_at_once(folder: Path) -> None:
    async def accept_slow(stream: Stream) -> None:
        await stream.open(period_ns=3_600_000_000_000)
        await stream.serve()

    manager = Manager(folder, "m", accept_slow)
    async with running(manager):
        stream = await manager.streams.get()
        await asyncio.wait_for(stream.heartbeats.get(), 5)  # the next one is an hour away
        await stream.send(session=dispatcher_pb2.SessionState(session_id="s", heartbeat_period_ns=PERIOD_NS))
        await asyncio.wait_for(stream.heartbeats.get(), 5)


async def test_a_changed_description_is_sent_within_the_session(folder: Path) -> None:
    manager = Manager(folder, "m", accept)
    async with running(manager) as agent:
        stream = await manager.streams.get()
        await agent.session.connected.wait()
        agent.hostname = "two"
        agent.session.notify_description_changed()
        assert (await stream.descriptions.get()).hostname == "two"


async def test_a_change_of_the_host_that_nobody_notifies_of_is_sent_once(folder: Path) -> None:
    manager = Manager(folder, "m", accept)
    async with running(manager, description_check_seconds=0.01) as agent:
        stream = await manager.streams.get()
        await agent.session.connected.wait()
        agent.hostname = "two"
        assert (await asyncio.wait_for(stream.descriptions.get(), 5)).hostname == "two"
        agent.hostname = "three"
        assert (await asyncio.wait_for(stream.descriptions.get(), 5)).hostname == "three", "it is not sent twice"


async def test_the_session_goes_at_once_to_the_leader_that_a_follower_names(folder: Path) -> None:
    leader = Manager(folder, "leader", accept)

    async def refuse(stream: Stream) -> None:
        await stream.refuse(grpc.StatusCode.FAILED_PRECONDITION, "no leader", [(LEADER_METADATA, leader.addr)])

    async with running(Manager(folder, "follower", refuse), leader) as agent:
        await leader.streams.get()
        await agent.session.connected.wait()


async def test_the_managers_of_the_last_state_are_used_when_the_known_one_is_gone(folder: Path) -> None:
    other = Manager(folder, "other", accept)

    async def name_the_other(stream: Stream) -> None:
        await stream.open(other.addr)

    async with running(Manager(folder, "m", name_the_other), other) as agent:
        await other.streams.get()
        assert agent.session.managers == (other.addr,)


async def test_statuses_are_sent_again_to_the_next_manager_until_they_are_acknowledged(folder: Path) -> None:
    async def read_and_go(stream: Stream) -> None:
        await stream.open()
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(stream.serve())
            stream.batch = await stream.statuses.get()  # type: ignore[attr-defined]
            serving.cancel()

    async def read_and_acknowledge(stream: Stream) -> None:
        await stream.open()
        async with asyncio.TaskGroup() as group:
            group.create_task(stream.serve())
            batch = await stream.statuses.get()
            stream.batch = batch  # type: ignore[attr-defined]
            await stream.send(status_ack=dispatcher_pb2.StatusAck(sequence=batch.sequence))
            agent.worker.statuses.put("t2", TaskStatus(state=TaskState.FAILED))
            stream.next_batch = await stream.statuses.get()  # type: ignore[attr-defined]
            done.set()

    done = asyncio.Event()
    manager = Manager(folder, "m", read_and_go, read_and_acknowledge)
    async with running(manager) as agent:
        agent.worker.statuses.put("t1", TaskStatus(state=TaskState.RUNNING))
        first, second = await manager.streams.get(), await manager.streams.get()
        await done.wait()
        assert [update.task_id for update in second.batch.updates] == ["t1"]  # type: ignore[attr-defined]
        assert first.batch.updates[0] == second.batch.updates[0]  # type: ignore[attr-defined]
        assert [update.task_id for update in second.next_batch.updates] == ["t2"]  # type: ignore[attr-defined]


async def test_assignments_reach_the_worker_in_order_and_one_that_does_not_apply_begins_a_new_session(
    folder: Path,
) -> None:
    async def assign(stream: Stream) -> None:
        await stream.open()
        await stream.send(assignments=assignments("a", complete=True, results_in="v1"))
        await stream.send(assignments=assignments("b", applies_to="v1", results_in="v2"))
        await stream.send(assignments=assignments("c", applies_to="v1", results_in="v3"))
        await stream.serve()

    manager = Manager(folder, "m", assign)
    async with running(manager) as agent:
        assert await agent.worker.applied.get() == (True, ["a"])
        assert await agent.worker.applied.get() == (False, ["b"])
        assert await agent.worker.applied.get() == (True, ["a"]), "the next session begins with a complete set"


async def test_a_manager_that_falls_silent_is_left(folder: Path) -> None:
    async def fall_silent(stream: Stream) -> None:
        await stream.open()
        await asyncio.sleep(60)

    manager = Manager(folder, "m", fall_silent, accept)
    async with running(manager) as agent:
        await manager.streams.get()
        await manager.streams.get()
        await agent.session.connected.wait()


async def test_a_node_that_was_removed_ends_its_session_by_the_kind_of_the_error_not_by_its_text(folder: Path) -> None:
    async def mislead(stream: Stream) -> None:
        await stream.refuse(grpc.StatusCode.PERMISSION_DENIED, "node n1 was removed from the cluster, says a proxy")

    async def remove(stream: Stream) -> None:
        await stream.refuse(grpc.StatusCode.PERMISSION_DENIED, "gone", error_metadata(NodeRemovedError("gone")))

    manager = Manager(folder, "m", mislead, remove)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with running(manager):
            await asyncio.Event().wait()
    assert caught.group_contains(NodeRemovedError)
    assert manager.streams.qsize() == 2


async def test_a_refused_description_is_said_and_tried_again(folder: Path) -> None:
    async def refuse(stream: Stream) -> None:
        await stream.refuse(grpc.StatusCode.INVALID_ARGUMENT, "the address is taken")

    manager = Manager(folder, "m", refuse, accept)
    async with running(manager) as agent:
        await agent.session.connected.wait()
        assert agent.refusals == ["the address is taken"]


async def test_acknowledgements_are_read_while_the_worker_applies_assignments(folder: Path) -> None:
    """An apply that took longer than the acknowledgement's deadline ended the session."""

    async def script(stream: Stream) -> None:
        await stream.open()
        await stream.send(assignments=dispatcher_pb2.Assignments(complete=True, results_in="1"))
        serving = asyncio.ensure_future(stream.serve())
        batch = await stream.statuses.get()
        await stream.send(status_ack=dispatcher_pb2.StatusAck(sequence=batch.sequence))
        await serving

    busy, done = asyncio.Event(), asyncio.Event()

    async def slow(changes: Sequence[AssignmentChange], *, complete: bool) -> None:
        assert (list(changes), complete) == ([], True)
        busy.set()
        await done.wait()

    async with running(Manager(folder, "m", script)) as agent:
        agent.worker.apply = slow  # type: ignore[method-assign]
        await busy.wait()
        agent.worker.statuses.put("task", TaskStatus(state=TaskState.RUNNING))
        while len(agent.worker.statuses):  # noqa: ASYNC110 - the queue has no event for that
            await asyncio.sleep(0.01)
        assert agent.session.connected.is_set()
        done.set()


async def test_sessions_that_end_at_once_are_begun_again_with_a_growing_backoff(folder: Path) -> None:
    """Two agents with one identity ended each other's sessions ten times a second."""

    async def script(stream: Stream) -> None:
        await stream.open()

    manager = Manager(folder, "m", script)
    async with running(manager):
        await manager.streams.get()
        began = time.monotonic()
        for _ in range(4):
            await manager.streams.get()
        assert time.monotonic() - began > 1.2


async def test_a_manager_that_just_failed_is_not_tried_again_at_once(folder: Path) -> None:
    """The dead leader could be chosen several times in a row, until its followers took the node for down."""
    tried: asyncio.Queue[str] = asyncio.Queue()

    def refusing(name: str) -> Script:
        async def refuse(stream: Stream) -> None:
            tried.put_nowait(name)
            await stream.refuse(grpc.StatusCode.UNAVAILABLE, "not now")

        return refuse

    managers = [Manager(folder, name, refusing(name)) for name in ("m1", "m2")]
    async with running(*managers) as agent:
        agent.session.add_managers([manager.addr for manager in managers])
        order = [await tried.get() for _ in range(5)]
    assert all(one != next_one for one, next_one in pairwise(order[1:])), order
