"""What the other managers say when a cluster is to be founded anew: this node's own may be the only one that sees no leader."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from covey.errors import ConflictError
from coveypb.v1 import control_pb2, control_pb2_grpc
from node.quorum import refuse_while_others_follow

ME, OTHER = "me", "other"


class Says(control_pb2_grpc.ControlServicer):
    """One manager, with what it sees."""

    def __init__(self, **sight: Any) -> None:
        self._answer = control_pb2.ManagerStatusResponse(**sight)

    async def Status(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - gRPC's name
        return self._answer


@contextlib.asynccontextmanager
async def manager(**sight: Any) -> AsyncIterator[str]:
    server = grpc.aio.server()
    control_pb2_grpc.add_ControlServicer_to_server(Says(**sight), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def asked(*addrs: str) -> None:
    await refuse_while_others_follow(ME, addrs, grpc.aio.insecure_channel)


async def test_one_that_follows_another_leader_refuses_it_by_name() -> None:
    """1. This node's manager is stopped, or cut off. 2. The others elected. 3. Forced, this node would end their memberships."""
    async with manager() as lost, manager(leader_raft_id=7, leader_node_id=OTHER, leader_addr="10.0.0.3:2378") as led:
        with pytest.raises(ConflictError, match=rf"the manager at {led} follows a leader \(10\.0\.0\.3:2378\)"):
            await asked(lost, led)


async def test_who_follows_nobody_or_this_node_or_does_not_answer_holds_up_nothing_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = [f"127.0.0.1:{one.getsockname()[1]}" for one in (silent, closed)]
        async with manager() as lost, manager(leader_raft_id=7, leader_node_id=ME) as mine:
            began = time.monotonic()
            async with asyncio.timeout(10):
                await asked(lost, mine, *nobody)
            assert time.monotonic() - began < 4, "they are asked at once"


async def test_a_leader_whose_node_is_not_known_is_a_leader() -> None:
    async with manager(leader_raft_id=7) as led:
        with pytest.raises(ConflictError, match="switch its managers off first"):
            await asked(led)
