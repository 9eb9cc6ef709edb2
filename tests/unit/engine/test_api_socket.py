"""The socket of the API and the way to the manager behind it."""

import asyncio
import contextlib
import socket
import stat
from pathlib import Path

import grpc
import pytest

from covey.errors import AlreadyExistsError, DeadlineError, NoLeaderError, StaleVersionError, UnavailableError
from covey.grpc_errors import error_metadata
from covey.objects import NodeSpec
from coveypb.v1 import control_pb2_grpc, objects_pb2
from engine.control_client import ControlClient
from engine.listeners import bind_unix as bind


def test_the_socket_is_for_root_and_the_group_alone(tmp_path: Path) -> None:
    path = tmp_path / "run" / "covey.sock"
    with contextlib.closing(bind(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_stale_socket_is_replaced_and_a_served_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "covey.sock"
    bind(path).close()
    assert path.exists()
    listener = bind(path)
    listener.listen()
    with contextlib.closing(listener), pytest.raises(AlreadyExistsError, match="another daemon serves"):
        bind(path)


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "covey.sock"
    path.write_text("mine")
    with pytest.raises(AlreadyExistsError, match="is not a socket"):
        bind(path)
    assert path.read_text() == "mine"


class Electing(control_pb2_grpc.ControlServicer):
    """A manager without a leader for a while."""

    details = "there is no leader now"
    metadata = error_metadata(UnavailableError(""))

    def __init__(self, failures: int, code: grpc.StatusCode) -> None:
        self.failures, self.code, self.calls = failures, code, 0

    async def GetNode(self, request: object, context: grpc.aio.ServicerContext) -> objects_pb2.Node:
        return await self._answer(context)

    async def UpdateNode(self, request: object, context: grpc.aio.ServicerContext) -> objects_pb2.Node:
        return await self._answer(context)

    async def _answer(self, context: grpc.aio.ServicerContext) -> objects_pb2.Node:
        self.calls += 1
        if self.calls <= self.failures:
            await context.abort(self.code, self.details, trailing_metadata=self.metadata)
        return objects_pb2.Node(id="n")


@contextlib.asynccontextmanager
async def manager(path: Path, servicer: Electing):
    server = grpc.aio.server()
    control_pb2_grpc.add_ControlServicer_to_server(servicer, server)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


async def test_reads_wait_for_a_leader_and_writes_are_not_repeated(tmp_path: Path) -> None:
    path, servicer = tmp_path / "m.sock", Electing(2, grpc.StatusCode.UNAVAILABLE)
    control = ControlClient(str(path))
    async with manager(path, servicer), contextlib.aclosing(Closing(control)):
        assert (await control.node("n")).id == "n"
        assert servicer.calls == 3
        servicer.calls = 0
        with pytest.raises(UnavailableError, match="there is no leader now"):
            await control.update_node("n", 1, NodeSpec())
        assert servicer.calls == 1


async def test_a_refusal_and_a_lost_connection_differ_by_kind_not_by_text(tmp_path: Path) -> None:
    path, servicer = tmp_path / "m.sock", Electing(1, grpc.StatusCode.UNAVAILABLE)
    servicer.details = "failed to connect to etcd: connection refused by its transport"
    control = ControlClient(str(path))
    async with manager(path, servicer), contextlib.aclosing(Closing(control)):
        with pytest.raises(UnavailableError, match="failed to connect to etcd"):
            await control.update_node("n", 1, NodeSpec())


async def test_a_read_is_not_retried_when_the_manager_has_waited_for_a_leader_already(tmp_path: Path) -> None:
    path, servicer = tmp_path / "m.sock", Electing(9, grpc.StatusCode.UNAVAILABLE)
    servicer.metadata = error_metadata(NoLeaderError(""))
    control = ControlClient(str(path))
    async with manager(path, servicer), contextlib.aclosing(Closing(control)):
        with pytest.raises(NoLeaderError, match="there is no leader now"):
            await control.node("n")
        assert servicer.calls == 1


async def test_a_manager_that_starts_late_is_waited_for(tmp_path: Path) -> None:
    path, servicer = tmp_path / "m.sock", Electing(0, grpc.StatusCode.UNAVAILABLE)
    control = ControlClient(str(path))
    async with contextlib.aclosing(Closing(control)):
        asked = asyncio.create_task(control.update_node("n", 1, NodeSpec()))
        await asyncio.sleep(0)
        async with manager(path, servicer), asyncio.timeout(10):
            assert (await asked).id == "n"


async def test_a_manager_that_never_starts_is_reported_within_the_deadline(tmp_path: Path) -> None:
    control = ControlClient(str(tmp_path / "none.sock"), call_seconds=0.3)
    async with contextlib.aclosing(Closing(control)), asyncio.timeout(5):
        with pytest.raises(UnavailableError, match="this node's manager does not answer"):
            await control.nodes()


async def test_a_write_whose_manager_died_has_an_unknown_outcome(tmp_path: Path) -> None:
    """It is told from a refusal, which says that nothing was done."""
    path, held = tmp_path / "m.sock", asyncio.Event()

    class Dying(control_pb2_grpc.ControlServicer):
        async def UpdateNode(self, _request, _context):  # noqa: N802 - the service's own name
            held.set()
            await asyncio.Event().wait()

    control = ControlClient(str(path))
    async with contextlib.aclosing(Closing(control)), asyncio.timeout(10):
        server = grpc.aio.server()
        control_pb2_grpc.add_ControlServicer_to_server(Dying(), server)
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        asked = asyncio.create_task(control.update_node("n", 1, NodeSpec()))
        await held.wait()
        await server.stop(0)
        with pytest.raises(DeadlineError, match="outcome is unknown"):
            await asked


async def test_a_refusal_comes_back_as_the_managers_error(tmp_path: Path) -> None:
    path, servicer = tmp_path / "m.sock", Electing(9, grpc.StatusCode.ABORTED)
    servicer.metadata = error_metadata(StaleVersionError(""))
    control = ControlClient(str(path))
    async with manager(path, servicer), contextlib.aclosing(Closing(control)):
        with pytest.raises(StaleVersionError):
            await control.node("n")


class Closing:
    """``ControlClient`` closes by ``close``."""

    def __init__(self, control: ControlClient) -> None:
        self._control = control

    async def aclose(self) -> None:
        await self._control.close()


def test_the_probe_of_a_served_socket_is_a_connection(tmp_path: Path) -> None:
    path = tmp_path / "busy.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(AlreadyExistsError):
            bind(path)
