"""One agent's stream on the leader, driven message by message."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from grpc import aio

from covey.errors import CoveyError, InvalidArgumentError, UnavailableError, first_cause
from covey.objects import NodeDescription, TaskStatus
from covey.states import TaskState
from coveypb.v1 import dispatcher_pb2
from manager.dispatcher.assignment_cache import NodeAssignments
from manager.dispatcher.node_session import (
    MAX_OUTBOX,
    MAX_STATUSES_PER_BATCH,
    MAX_UNSTORED_REPORTS,
    NodeSession,
    TaskStatuses,
)


class Stream:
    """The two ends of a stream: the agent's messages come from ``to_manager``, the manager's go to ``to_agent``."""

    def __init__(self) -> None:
        self.to_manager: asyncio.Queue[object] = asyncio.Queue()
        self.to_agent: asyncio.Queue[dispatcher_pb2.ManagerMessage] = asyncio.Queue()

    async def read(self) -> object:
        return await self.to_manager.get()

    async def write(self, message: dispatcher_pb2.ManagerMessage) -> None:
        self.to_agent.put_nowait(message)

    def say(self, **message: object) -> None:
        self.to_manager.put_nowait(dispatcher_pb2.AgentMessage(**message))  # type: ignore[arg-type]

    async def hears(self, kind: str) -> dispatcher_pb2.ManagerMessage:
        """The next message of this kind."""
        async with asyncio.timeout(5):
            while (message := await self.to_agent.get()).WhichOneof("message") != kind:
                pass
        return message


class Store:
    """What the session stores; it waits while ``stuck``."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()
        self.stored: list[object] = []
        self.heartbeats = 0
        self.images: list[object] = []

    def heard(self) -> None:
        self.heartbeats += 1

    async def statuses(self, statuses: TaskStatuses) -> None:
        await self.free.wait()
        self.stored.append(statuses)

    async def description(self, description: NodeDescription) -> None:
        await self.free.wait()
        self.stored.append(description)


@asynccontextmanager
async def session() -> AsyncIterator[tuple[Stream, Store, NodeSession]]:
    stream, store = Stream(), Store()
    made = NodeSession(
        "n1", "s1", assignments=lambda: NodeAssignments({}, {}), state=dispatcher_pb2.SessionState,
        on_message=store.heard, on_description=store.description, on_statuses=store.statuses,
        on_images=store.images.append, on_fetch_result=store.images.append,
        on_network_check=store.images.append,
        on_log_tails=store.images.append,
    )  # fmt: skip
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        running = group.create_task(made.run(stream))
        await stream.hears("assignments")
        yield stream, store, made
        stream.to_manager.put_nowait(aio.EOF)
        await running


def batch(sequence: int, count: int = 1) -> dispatcher_pb2.StatusBatch:
    message = dispatcher_pb2.StatusBatch(sequence=sequence)
    for number in range(count):
        message.updates.add(task_id=f"t{number}").status.state = int(TaskState.RUNNING)  # type: ignore[assignment]
    return message


async def ends_with(kind: type[CoveyError], act: Callable[[Stream, NodeSession], None]) -> str:
    """The message of the error that this ends the session with, while nothing can be stored."""

    async def run() -> None:
        async with session() as (stream, store, made):
            store.free.clear()
            act(stream, made)
            await asyncio.Event().wait()

    with pytest.raises(BaseExceptionGroup) as caught:
        await run()
    error = first_cause(caught.value)
    assert isinstance(error, kind)
    return error.message


async def test_heartbeats_are_answered_while_the_store_is_stuck() -> None:
    """Seen as: a slow disk of the managers delayed the heartbeats behind a batch of statuses, and healthy nodes were DOWN."""
    async with session() as (stream, store, _):
        store.free.clear()
        stream.say(statuses=batch(1))
        for _ in range(3):
            stream.say(heartbeat=dispatcher_pb2.Heartbeat())
            await stream.hears("heartbeat_ack")
        assert (store.heartbeats, store.stored) == (4, [])
        store.free.set()
        assert (await stream.hears("status_ack")).status_ack.sequence == 1
        assert store.stored == [[("t0", TaskStatus(state=TaskState.RUNNING))]]


async def test_reports_are_stored_in_the_order_in_which_they_were_sent() -> None:
    async with session() as (stream, store, _):
        store.free.clear()
        stream.say(statuses=batch(1))
        stream.say(description=dispatcher_pb2.AgentMessage().description)
        stream.say(statuses=batch(2))
        store.free.set()
        assert (await stream.hears("status_ack")).status_ack.sequence == 1
        assert (await stream.hears("status_ack")).status_ack.sequence == 2
        assert [type(item) for item in store.stored] == [list, NodeDescription, list]


async def test_an_agent_over_a_bound_loses_its_session() -> None:
    def too_large(stream: Stream, _: NodeSession) -> None:
        stream.say(statuses=batch(1, MAX_STATUSES_PER_BATCH + 1))

    def too_many(stream: Stream, _: NodeSession) -> None:
        for number in range(MAX_UNSTORED_REPORTS + 2):
            stream.say(statuses=batch(number))

    def unread(_: Stream, made: NodeSession) -> None:
        for _number in range(MAX_OUTBOX + 1):
            made.send(dispatcher_pb2.ManagerMessage(heartbeat_ack=dispatcher_pb2.HeartbeatAck()))

    assert "over the bound of 256" in await ends_with(InvalidArgumentError, too_large)
    assert "not stored yet" in await ends_with(UnavailableError, too_many)
    assert "messages unread" in await ends_with(UnavailableError, unread)
