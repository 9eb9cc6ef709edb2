"""Leader forwarding: a leader confirms with a majority that it still leads before it refuses a change."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import pytest

from covey.errors import AlreadyExistsError, DeadlineError
from covey.grpc_errors import LEADER_METADATA
from coveypb.v1 import control_pb2, control_pb2_grpc, objects_pb2
from manager.control.leader_forwarding import LeaderForwarder
from manager.store import Leadership


class Group:
    """A fake consensus. If it is ``deposed``, no majority confirms, and then another manager leads."""

    def __init__(self, *, deposed: bool) -> None:
        self.deposed = deposed
        self.asked = 0
        self.leadership = Leadership(term=3, is_leader=True, leader_addr="me:1")

    async def read_index(self) -> None:
        self.asked += 1
        if self.deposed:
            self.leadership = Leadership(term=4, is_leader=False, leader_addr="other:1")
            raise DeadlineError("no majority answered")


class Configs(control_pb2_grpc.ControlServicer):
    """Refuses a name a number of times and then accepts it, like a leader whose state was old."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.calls = 0

    async def CreateConfig(self, request: control_pb2.CreateConfigRequest, context: object) -> objects_pb2.Config:
        self.calls += 1
        if self.calls <= self.refusals:
            raise AlreadyExistsError("config a already exists")
        return objects_pb2.Config(id="new")


@contextlib.asynccontextmanager
async def served(group: Group, configs: Configs) -> AsyncIterator[control_pb2_grpc.ControlStub]:
    server = grpc.aio.server(interceptors=[LeaderForwarder(group, None)])
    control_pb2_grpc.add_ControlServicer_to_server(configs, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield control_pb2_grpc.ControlStub(channel)
    finally:
        await server.stop(0)
        await asyncio.sleep(0)


async def test_an_accepted_change_needs_no_confirmation_of_leadership() -> None:
    group, configs = Group(deposed=False), Configs(refusals=0)
    async with served(group, configs) as stub:
        assert (await stub.CreateConfig(control_pb2.CreateConfigRequest(), timeout=10)).id == "new"
    assert (group.asked, configs.calls) == (0, 1)


async def test_a_leader_with_an_old_state_tries_again_before_it_refuses() -> None:
    group, configs = Group(deposed=False), Configs(refusals=1)
    async with served(group, configs) as stub:
        assert (await stub.CreateConfig(control_pb2.CreateConfigRequest(), timeout=10)).id == "new"
    assert (group.asked, configs.calls) == (1, 2)


async def test_a_confirmed_refusal_is_returned() -> None:
    group, configs = Group(deposed=False), Configs(refusals=2)
    async with served(group, configs) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match="already exists"):
            await stub.CreateConfig(control_pb2.CreateConfigRequest(), timeout=10)
    assert (group.asked, configs.calls) == (1, 2)


async def test_a_deposed_leader_names_the_new_leader_instead_of_refusing() -> None:
    group, configs = Group(deposed=True), Configs(refusals=1)
    async with served(group, configs) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as sent_on:
            await stub.CreateConfig(control_pb2.CreateConfigRequest(), timeout=10)
    assert (LEADER_METADATA, "other:1") in tuple(sent_on.value.trailing_metadata())
    assert configs.calls == 1


def test_a_missing_leader_is_explained_by_the_store_that_does_not_answer() -> None:
    class Etcd(Group):
        unavailable_reason = "etcd at 10.0.0.1:2379 does not answer"

    message = LeaderForwarder(Etcd(deposed=True), None)._no_leader_message()
    assert message == "The swarm does not have a leader: etcd at 10.0.0.1:2379 does not answer"
