"""Calls of tasks on other nodes, from the daemon of a manager through that manager to the node, over real gRPC."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from grpc import aio

from agent.container.model import ExecConfig, ExecState, RunStatus
from agent.filesystem.protocol import PathStat
from agent.task_call.server import TaskCallServer
from covey.errors import ConflictError, CoveyError, NotFoundError, UnavailableError
from covey.objects import Annotations, Node, NodeDescription, NodeStatus, Task, TaskStatus, replace
from covey.states import NodeState, TaskState
from coveypb.v1 import control_pb2, control_pb2_grpc, dispatcher_pb2, dispatcher_pb2_grpc
from engine.control_client import ControlClient
from engine.remote_containers import RemoteContainer
from manager.grpc_status import abort_with
from manager.store import MemoryConsensus, Store
from manager.task_calls import TaskCalls

CHUNK = bytes(200_000)
STATE = ExecState(id="e1", container_id="c1", config=ExecConfig(args=("sh",)))


class Cat:
    """A process that says what it is told, and ends with its input."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self.closed = asyncio.Event()

    async def read(self) -> tuple[int, bytes] | None:
        data = await self._lines.get()
        return None if data is None else (2 if data.startswith(b"!") else 1, data)

    async def write(self, data: bytes) -> None:
        await self._lines.put(data)

    async def close_stdin(self) -> None:
        await self._lines.put(None)

    async def wait(self) -> int:
        return 0

    async def close(self) -> None:
        self.closed.set()


class Containers:
    """The container c1 of the task t1."""

    def __init__(self) -> None:
        self.cat = Cat()
        self.taken = 0
        self.sent = 0

    def list(self) -> list[Any]:
        state = SimpleNamespace(running=True, status=RunStatus.RUNNING)
        return [SimpleNamespace(id="c1", config=SimpleNamespace(task_id="t1"), state=state)]

    async def exec_create(self, ref: str, config: ExecConfig) -> str:
        if not config.args:
            raise ConflictError(f"container {ref} is not running")
        return "e1"

    def exec_inspect(self, exec_id: str) -> ExecState:
        return replace(STATE, container_id="c1" if exec_id == "e1" else "another")

    async def exec_start(self, _exec_id: str, *, detach: bool = False, size: object = None) -> Cat | None:
        del size
        return None if detach else self.cat

    @asynccontextmanager
    async def read_path(self, _ref: str, path: str) -> AsyncIterator[tuple[PathStat, Any]]:
        if path == "/none":
            raise NotFoundError("Could not find the file /none in container c1")

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(50):
                self.sent += len(CHUNK)
                yield CHUNK

        yield PathStat("x", 1, 2, 3, ""), SimpleNamespace(chunks=chunks)

    async def stat_path(self, _ref: str, path: str) -> PathStat:
        raise ZeroDivisionError(path)

    async def write_path(self, _ref: str, path: str, source: AsyncIterator[bytes], **_options: bool) -> None:
        async for data in source:
            self.taken += len(data)
            if path == "/full":
                raise ConflictError("no space left on device")


class World:
    """A manager on a socket, and a node that takes what it is sent, once it `answers`."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.calls = TaskCalls(store, f"unix:{folder}/m.sock")
        self.control = ControlClient(f"{folder}/m.sock")
        self.containers = Containers()
        self.node_id = "n1"
        identity = SimpleNamespace(require=lambda: SimpleNamespace(channel=aio.insecure_channel))
        self.server = TaskCallServer(identity, self.containers)  # type: ignore[arg-type]
        self.answers = True
        self.served: set[asyncio.Task[None]] = set()
        self.store = store

    def send(self, _node_id: str, message: dispatcher_pb2.ManagerMessage) -> bool:
        if self.answers:
            task = asyncio.get_running_loop().create_task(self.server.serve(message.open_task_call))
            self.served.add(task)
            task.add_done_callback(self.served.discard)
        return self.answers

    async def call(self, requests: Any, context: Any) -> None:
        await _or_abort(self.calls.call(requests, context), context)

    async def serve(self, requests: Any, context: Any) -> None:
        await _or_abort(self.calls.serve(self.node_id, requests, context), context)

    @property
    def task(self) -> RemoteContainer:
        return RemoteContainer(self.control, "t1")


async def _or_abort(work: Coroutine[Any, Any, None], context: Any) -> None:
    """As the interceptor of the managers' listeners."""
    try:
        await work
    except CoveyError as error:
        await abort_with(context, error)


def serving(module: Any, service: str, **methods: Any) -> Any:
    """A servicer of these methods alone."""
    names = [method.name for method in module.DESCRIPTOR.services_by_name[service].methods]
    return SimpleNamespace(**{**dict.fromkeys(names), **methods})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = Store(MemoryConsensus)
    node = Node(id="n1", description=NodeDescription(hostname="alpha"), status=NodeStatus(state=NodeState.READY))
    task = Task(
        id="t1",
        node_id="n1",
        service_annotations=Annotations(name="web"),
        slot=1,
        status=TaskStatus(state=TaskState.RUNNING),
    )
    await store.update(lambda tx: (tx.create(node), tx.create(task)))
    world = World(store, tmp_path)
    world.calls.bind(world.send, aio.insecure_channel)
    server = aio.server()
    control_pb2_grpc.add_ControlServicer_to_server(serving(control_pb2, "Control", CallTask=world.call), server)
    node_end = serving(dispatcher_pb2, "Dispatcher", ServeTaskCall=world.serve)
    dispatcher_pb2_grpc.add_DispatcherServicer_to_server(node_end, server)
    server.add_insecure_port(f"unix:{tmp_path}/m.sock")
    await server.start()
    try:
        yield world
    finally:
        await world.control.close()
        await server.stop(0)
        for task_served in list(world.served):
            task_served.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task_served


async def test_an_exec_is_created_inspected_and_fed_to_its_end(world: World) -> None:
    assert await world.task.exec_create(ExecConfig(args=("cat",))) == "e1"
    assert (await world.task.exec_inspect("e1")).state == STATE
    stream = await world.task.exec_start("e1")
    assert stream is not None
    for data in (b"one", b"!two"):
        await stream.write(data)
        assert await stream.read() == (2 if data.startswith(b"!") else 1, data)
    await stream.close_stdin()
    assert await stream.read() is None
    await stream.close()


async def test_refusals_keep_their_kind_and_words(world: World) -> None:
    with pytest.raises(ConflictError, match="container c1 is not running"):
        await world.task.exec_create(ExecConfig(args=()))
    with pytest.raises(NotFoundError, match="No such exec instance: e2"):
        await world.task.exec_inspect("e2")
    with pytest.raises(NotFoundError, match="t9"):
        await RemoteContainer(world.control, "t9").stat_path("/")
    with pytest.raises(NotFoundError, match="Could not find the file /none"):
        async with world.task.read_path("/none"):
            pass


async def test_a_client_that_goes_frees_the_manager_and_the_node(world: World) -> None:
    stream = await world.task.exec_start("e1")
    assert stream is not None
    await stream.close()
    async with asyncio.timeout(10):
        await world.containers.cat.closed.wait()
        while world.served or world.calls.running:  # noqa: ASYNC110 - the end of a call is no event
            await asyncio.sleep(0.01)


async def test_a_lost_node_ends_the_output_with_its_name(world: World) -> None:
    stream = await world.task.exec_start("e1")
    assert stream is not None
    for served in list(world.served):
        served.cancel()
    async with asyncio.timeout(10):
        last = await stream.read()
    assert last is not None
    assert "lost node alpha, which runs web.1.t1, during the call" in last[1].decode()
    assert await stream.read() is None


async def test_a_node_that_is_declared_down_ends_the_call(world: World) -> None:
    stream = await world.task.exec_start("e1")
    assert stream is not None
    down = replace(world.store.view().nodes.find("n1"), status=NodeStatus(state=NodeState.DOWN))
    await world.store.update(lambda tx: tx.update(down))
    async with asyncio.timeout(10):
        last = await stream.read()
    assert last is not None
    assert "lost node alpha" in last[1].decode()
    with pytest.raises(UnavailableError, match="node alpha, which has web.1.t1, is down"):
        await world.task.stat_path("/")


async def test_a_tar_waits_for_its_reader_and_arrives_whole(world: World) -> None:
    async with world.task.read_path("/x") as (found, tar):
        assert found.name == "x"
        first = await anext(tar)
        await asyncio.sleep(0)
        assert world.containers.sent < 50 * len(CHUNK)  # the rest waits for the reader
        size = len(first)
        async for data in tar:
            size += len(data)
    assert size == 50 * len(CHUNK)


async def test_a_copy_is_done_when_the_node_says_so_and_fails_with_its_reason(world: World) -> None:
    async def source() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield CHUNK

    await world.task.write_path("/x", source())
    assert world.containers.taken == 20 * len(CHUNK)
    with pytest.raises(ConflictError, match="no space left"):
        await world.task.write_path("/full", source())


async def test_a_mistake_on_the_node_ends_the_call_and_nothing_else(world: World) -> None:
    with pytest.raises(UnavailableError, match="lost node alpha"):
        await world.task.stat_path("/")
    assert await world.task.exec_create(ExecConfig(args=("cat",))) == "e1"


async def test_another_node_cannot_take_the_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.task_calls.OPEN_SECONDS", 1.0)
    world.node_id = "n2"
    with pytest.raises(UnavailableError, match="node alpha, which runs web.1.t1, did not take the call"):
        await world.task.stat_path("/")


async def test_a_node_without_a_session_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.task_calls.OPEN_SECONDS", 0.5)
    world.answers = False
    with pytest.raises(UnavailableError, match="node alpha.*has no session with the leader"):
        await world.task.stat_path("/")
