"""Answers of the other managers before a forced new cluster: this node's own may be the only one without a leader."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from agent.identity import NodeIdentity
from covey.clock import HOUR, wall_clock
from covey.errors import ConflictError
from covey.states import NodeRole
from coveypb.v1 import control_pb2, control_pb2_grpc
from manager.ca import certificates
from node.quorum import refuse_if_peers_have_leader

ME, OTHER, CLUSTER, ELSEWHERE = "me", "other", "thiscluster", "anothercluster"
NOW = wall_clock()
ROOTS = {cluster: certificates.create_root(cluster, NOW) for cluster in (CLUSTER, ELSEWHERE)}


def identity(node_id: str, *, cluster: str = CLUSTER, began: int = NOW, life: int = HOUR) -> NodeIdentity:
    key, request = certificates.new_csr()
    certificate = certificates.issue_certificate(
        ROOTS[cluster],
        request,
        node_id=node_id,
        role=NodeRole.MANAGER,
        cluster_id=cluster,
        now_ns=began,
        lifetime_ns=life,
    )
    return NodeIdentity.parse(certificate=certificate, key=key, root=ROOTS[cluster].cert)


class Says(control_pb2_grpc.ControlServicer):
    """One manager, with what it sees."""

    def __init__(self, **sight: Any) -> None:
        self._answer = control_pb2.ManagerStatusResponse(**sight)

    async def Status(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - gRPC's name
        return self._answer


@contextlib.asynccontextmanager
async def manager(node_id: str = OTHER, *, cluster: str = CLUSTER, **sight: Any) -> AsyncIterator[str]:
    own, server = identity(node_id, cluster=cluster), grpc.aio.server()
    control_pb2_grpc.add_ControlServicer_to_server(Says(**sight), server)
    credentials = grpc.ssl_server_credentials([(own.key, own.certificate)], own.root, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def asked(*addrs: str, by: NodeIdentity | None = None) -> None:
    await refuse_if_peers_have_leader(by or identity(ME), addrs)


async def test_a_peer_with_another_leader_refuses_it_by_address() -> None:
    """1. This node's manager is stopped, or cut off. 2. The others elected. 3. Forced, this node would end their memberships."""
    async with manager() as lost, manager(leader_raft_id=7, leader_node_id=OTHER, leader_addr="10.0.0.3:2378") as led:
        with pytest.raises(ConflictError, match=rf"the manager at {led} follows a leader \(10\.0\.0\.3:2378\)"):
            await asked(lost, led)


async def test_peers_without_a_leader_or_with_this_one_or_without_an_answer_do_not_block_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = [f"127.0.0.1:{one.getsockname()[1]}" for one in (silent, closed)]
        async with manager() as lost, manager(leader_raft_id=7, leader_node_id=ME) as mine:
            began = time.monotonic()
            async with asyncio.timeout(10):
                await asked(lost, mine, *nobody)
            assert time.monotonic() - began < 4, "they are asked at once"


async def test_a_leader_of_unknown_node_counts_as_a_leader() -> None:
    async with manager(leader_raft_id=7) as led:
        with pytest.raises(ConflictError, match="stop its managers first"):
            await asked(led)


EXPIRED = identity(ME, began=NOW - 400 * 24 * HOUR)
TOO_EARLY = identity(ME, began=NOW + 24 * HOUR)


@pytest.mark.parametrize(("mine", "why"), [(EXPIRED, "has expired"), (TOO_EARLY, "is not valid yet")])
async def test_a_peer_that_is_alive_but_rejects_this_nodes_certificate_refuses_it(mine: NodeIdentity, why: str) -> None:
    """1. This host was off until its certificate expired, or its clock is wrong. 2. The others went on, and cannot be asked."""
    async with manager(leader_raft_id=7, leader_node_id=OTHER) as led:
        with pytest.raises(ConflictError, match=f"the manager at {led} is alive.*this node's certificate {why}"):
            await asked(led, by=mine)


async def test_this_nodes_own_manager_and_those_of_other_clusters_do_not_refuse_it() -> None:
    async with manager(ME, leader_raft_id=7) as own, manager(cluster=ELSEWHERE, leader_raft_id=7) as stranger:
        await asked(own, stranger, by=EXPIRED)
