"""A manager whose join failed leaves the managers' group."""

import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from coveypb.v1 import raft_pb2, raft_pb2_grpc
from node.group_departure import leave_group
from tests.unit.node.test_quorum_peers import ME, identity


class Group(raft_pb2_grpc.RaftServicer):
    """A manager that takes members out, or refuses with a status."""

    def __init__(self, refusal: grpc.StatusCode | None = None) -> None:
        self.left: list[str] = []
        self._refusal = refusal

    async def Leave(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        if self._refusal is not None:
            await context.abort(self._refusal, "no")
        self.left.append(request.node_id)
        return raft_pb2.RaftLeaveResponse()


@contextlib.asynccontextmanager
async def serving(group: Group) -> AsyncIterator[str]:
    own, server = identity("other"), grpc.aio.server()
    raft_pb2_grpc.add_RaftServicer_to_server(group, server)
    credentials = grpc.ssl_server_credentials([(own.key, own.certificate)], own.root, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_the_first_manager_that_can_takes_it_out() -> None:
    busy, able = Group(grpc.StatusCode.UNAVAILABLE), Group()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with serving(busy) as first, serving(able) as second:
            await leave_group(identity(ME), [f"127.0.0.1:{closed.getsockname()[1]}", first, second])
    assert able.left == [ME]


@pytest.mark.parametrize(
    ("refusal", "warns"), [(grpc.StatusCode.PERMISSION_DENIED, False), (grpc.StatusCode.FAILED_PRECONDITION, True)]
)
async def test_a_node_that_is_no_member_is_out_and_one_that_stays_is_named(
    refusal: grpc.StatusCode, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with serving(Group(refusal)) as addr:
            await leave_group(identity(ME), [addr])
    assert ("demote it there" in caplog.text) is warns
