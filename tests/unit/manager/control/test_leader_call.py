"""A call to the leader: what is retried, what has an unknown outcome, and that the kind of an error is relayed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from covey.errors import AlreadyExistsError, DeadlineError
from covey.grpc_errors import error_from_status
from coveypb.v1 import control_pb2, control_pb2_grpc, objects_pb2
from manager.control.leader_call import AnswerTimes, LeaderCall, RetryableError
from manager.grpc_status import abort_not_leader, abort_with
from manager.store import Leadership

CREATE, GET = "/coveypb.v1.Control/CreateConfig", "/coveypb.v1.Control/GetConfig"
REQUEST = b""  # any message without fields


class Leader(control_pb2_grpc.ControlServicer):
    """Answers each call by ``answer``, and its status if there is one."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.status: Any = None
        self.asked = asyncio.Event()

    async def Status(self, _request: Any, context: Any) -> Any:
        if self.status is not None:
            self.asked.set()
            return await self.status(context)
        return control_pb2.ManagerStatusResponse()

    async def CreateConfig(self, _request: Any, context: Any) -> Any:
        self.asked.set()
        return await self.answer(context)

    async def GetConfig(self, _request: Any, context: Any) -> Any:
        self.asked.set()
        return await self.answer(context)


class AbortedError(Exception):
    """The caller's call was ended with this status."""


class Caller:
    """The context of the follower's caller."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    async def abort(self, code: Any, details: str, trailing_metadata: Any = ()) -> None:
        raise AbortedError(error_from_status(code.name, details, trailing_metadata))


@contextlib.asynccontextmanager
async def serving(leader: Leader) -> AsyncIterator[tuple[Any, Any, str]]:
    server = grpc.aio.server()
    control_pb2_grpc.add_ControlServicer_to_server(leader, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel, asyncio.timeout(10):
            yield server, channel, address
    finally:
        await server.stop(0)


class Relay:
    """A TCP relay to a server. ``break_silently`` breaks its connections like a power failure of the server's host: the client learns of
    it when it sends.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_broken = asyncio.Event()

    def break_silently(self) -> None:
        """Breaks the present connections. Later ones work."""
        self._is_broken.set()
        self._is_broken = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relays one connection."""
        is_broken = self._is_broken
        back, forth = await asyncio.open_connection("127.0.0.1", self._port)

        async def relay_answers() -> None:
            while data := await back.read(1 << 16):
                if not is_broken.is_set():
                    writer.write(data)

        answers = asyncio.create_task(relay_answers())
        while data := await reader.read(1 << 16):
            if is_broken.is_set():
                break
            forth.write(data)
        writer.transport.abort()
        forth.close()
        answers.cancel()
        await asyncio.gather(answers, return_exceptions=True)


def call(
    channel: Any, address: str, method: str, consensus: Any = None, answers: AnswerTimes | None = None
) -> LeaderCall:
    target = Leadership(term=1, is_leader=False, leader_addr=address)
    return LeaderCall(
        consensus or SimpleNamespace(leadership=target),
        channel,
        target,
        method,
        reads=method == GET,
        answers=answers or AnswerTimes(),
    )


async def hang(_context: Any) -> Any:
    await asyncio.Event().wait()


@pytest.mark.parametrize("method", [CREATE, GET])
async def test_a_leader_that_cannot_be_reached_is_retried(method: str) -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel, asyncio.timeout(5):
        with pytest.raises(RetryableError):
            await call(channel, "127.0.0.1:1", method).unary(REQUEST, Caller())


async def test_a_manager_that_does_not_lead_is_retried() -> None:
    async def deposed(context: Any) -> Any:
        await abort_not_leader(context, "")

    async with serving(Leader(deposed)) as (_, channel, address):
        with pytest.raises(RetryableError):
            await call(channel, address, CREATE).unary(REQUEST, Caller())


@pytest.mark.parametrize(("method", "error"), [(CREATE, DeadlineError), (GET, RetryableError)])
async def test_the_outcome_of_a_change_is_unknown_when_its_leader_is_lost_and_a_read_is_retried(
    method: str, error: type[Exception]
) -> None:
    leader = Leader(hang)
    async with serving(leader) as (server, channel, address):
        sent = asyncio.create_task(call(channel, address, method).unary(REQUEST, Caller()))
        await leader.asked.wait()
        await server.stop(0)
        with pytest.raises(error):
            await sent


async def test_a_change_is_retried_if_its_connection_broke_while_it_was_idle() -> None:
    """1. A change is made. 2. The connection breaks, and nobody notices. 3. The next change must not be lost on it with an unknown outcome."""
    changes = 0
    now = 0.0

    async def create(_context: Any) -> Any:
        nonlocal changes
        changes += 1
        return objects_pb2.Config(id="new")

    answers = AnswerTimes(lambda: now)
    async with serving(Leader(create)) as (_, _, address):
        relay = Relay(int(address.rpartition(":")[2]))
        server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
        relayed = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, grpc.aio.insecure_channel(relayed) as channel:
            await call(channel, relayed, CREATE, answers=answers).unary(REQUEST, Caller())
            relay.break_silently()
            now += 1.0
            with pytest.raises(RetryableError):
                await call(channel, relayed, CREATE, answers=answers).unary(REQUEST, Caller())
            assert changes == 1
            async with asyncio.timeout(10):
                while changes == 1:  # the channel may notice its broken connection a moment later
                    with contextlib.suppress(RetryableError):
                        await call(channel, relayed, CREATE, answers=answers).unary(REQUEST, Caller())
            assert changes == 2


async def test_a_leader_that_hangs_gets_no_change() -> None:
    """Its status stays unanswered until another manager leads."""
    leader = Leader(hang)
    leader.status = hang
    consensus = SimpleNamespace(leadership=Leadership(term=1, is_leader=False, leader_addr=""))
    async with serving(leader) as (_, channel, address):
        sent = asyncio.create_task(call(channel, address, CREATE, consensus).unary(REQUEST, Caller()))
        await leader.asked.wait()
        consensus.leadership = Leadership(term=2, is_leader=False, leader_addr="other:1")
        with pytest.raises(RetryableError):
            await sent


async def test_a_deposed_leader_may_still_say_what_became_of_a_change() -> None:
    consensus = SimpleNamespace(leadership=Leadership(term=1, is_leader=False, leader_addr=""))

    async def deposed(context: Any) -> Any:
        consensus.leadership = Leadership(term=2, is_leader=False, leader_addr="other:1")
        await asyncio.sleep(0.5)  # longer than it takes to notice the other leader
        await abort_not_leader(context, "other:1")

    async with serving(Leader(deposed)) as (_, channel, address):
        with pytest.raises(RetryableError):
            await call(channel, address, CREATE, consensus).unary(REQUEST, Caller())


async def test_a_call_ends_when_another_manager_becomes_the_leader() -> None:
    leader = Leader(hang)
    consensus = SimpleNamespace(leadership=Leadership(term=1, is_leader=False, leader_addr=""))
    async with serving(leader) as (_, channel, address):
        sent = asyncio.create_task(call(channel, address, CREATE, consensus).unary(REQUEST, Caller()))
        await leader.asked.wait()
        consensus.leadership = Leadership(term=2, is_leader=False, leader_addr="other:1")
        with pytest.raises(DeadlineError, match="outcome is unknown"):
            await sent


async def test_an_error_of_the_leader_is_relayed_with_its_kind_whatever_its_words() -> None:
    async def refuse(context: Any) -> Any:
        await abort_with(context, AlreadyExistsError("failed to connect: the transport is taken"))

    async with serving(Leader(refuse)) as (_, channel, address):
        with pytest.raises(AbortedError) as aborted:
            await call(channel, address, CREATE).unary(REQUEST, Caller())
    assert type(aborted.value.args[0]) is AlreadyExistsError
