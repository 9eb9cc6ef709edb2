"""Authorization of former managers, whose manager certificates are still valid: what the leader and followers refuse."""

import asyncio
from typing import Any

import grpc
import pytest

from agent.identity import NodeIdentity
from coveypb.v1 import control_pb2, control_pb2_grpc, objects_pb2, raft_pb2, raft_pb2_grpc
from tests.support.manager_processes import ManagerHost, eventually, manager_cluster

pytestmark = pytest.mark.timeout(240)


async def refusal(identity: NodeIdentity, addr: str, method: str, request: Any) -> str:
    """Status code and message with which a manager refuses a call with this identity."""
    async with identity.channel(addr) as channel:
        service, name = method.split(".")
        stub: Any = {"Raft": raft_pb2_grpc.RaftStub, "Control": control_pb2_grpc.ControlStub}[service](channel)
        call = getattr(stub, name)(iter(request) if isinstance(request, list) else request, timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
    return f"{refused.value.code().name}: {refused.value.details()}"


async def set_desired_role(leader: ManagerHost, ref: str, role: int) -> None:
    node = await leader.call("GetNode", control_pb2.GetRequest(ref=ref))
    node.spec.desired_role = role
    await leader.call("UpdateNode", control_pb2.UpdateNodeRequest(ref=ref, version=node.meta.version, spec=node.spec))


async def test_a_demoted_managers_certificate_cannot_call_the_control_api_or_raft() -> None:
    """1. A manager is demoted; its manager certificate is valid for months. 2. It asks to join the group again, at the leader or at a
    follower, which forwards it. 3. As a member it would get the snapshot with every secret and the CA key.
    """
    async with manager_cluster() as group:
        await group.bootstrap(3)
        leader = await group.leader()
        former, follower = [host for host in group.managers if host is not leader]
        old_identity = former.identities.require()
        ids = {host: host.identities.require().node_id for host in group.managers}
        await set_desired_role(leader, old_identity.node_id, objects_pb2.NODE_ROLE_WORKER)
        assert former.process is not None
        async with asyncio.timeout(20):
            await former.process.wait()
        former.process = None

        async def demoted() -> bool:
            node = await leader.call("GetNode", control_pb2.GetRequest(ref=old_identity.node_id))
            return bool(node.role == objects_pb2.NODE_ROLE_WORKER)

        await eventually("it to be a worker", demoted)
        join = raft_pb2.RaftJoinRequest(node_id=old_identity.node_id, addr=former.mtls_addr)
        assert "is a worker now" in await refusal(
            old_identity, leader.mtls_addr, "Control.GetCluster", control_pb2.GetClusterRequest()
        )
        assert "is a worker now" in await refusal(old_identity, leader.mtls_addr, "Raft.Join", join)
        assert "is not a manager of this cluster" in await refusal(old_identity, follower.mtls_addr, "Raft.Join", join)
        for_another = raft_pb2.RaftJoinRequest(node_id=ids[leader], addr=former.mtls_addr)
        assert "PERMISSION_DENIED" in await refusal(old_identity, follower.mtls_addr, "Raft.Join", for_another)
        leave = raft_pb2.RaftLeaveRequest(node_id=ids[leader])
        assert "is not a manager of this cluster" in await refusal(
            old_identity, follower.mtls_addr, "Raft.Leave", leave
        )

        status = await leader.status()
        message = raft_pb2.RaftMessage(kind=1, to=1, term=status.term + 9)
        setattr(message, "from", status.leader_raft_id)
        forged = raft_pb2.RaftBatch(cluster_id=old_identity.cluster_id, messages=[message])
        said = await refusal(old_identity, follower.mtls_addr, "Raft.Exchange", [forged])
        assert f"node {old_identity.node_id} may not send as manager {ids[leader]}" in said


async def test_a_removed_managers_certificate_is_refused_also_while_there_is_no_leader() -> None:
    """1. A manager is demoted and its node removed; its certificate is valid for months. 2. A follower refuses it before it handles the
    call. 3. The leader is killed: a follower without a leader would accept a message of an unknown member.
    """
    async with manager_cluster() as group:
        await group.bootstrap(3)
        leader = await group.leader()
        former, follower = [host for host in group.managers if host is not leader]
        old_identity = former.identities.require()
        await set_desired_role(leader, old_identity.node_id, objects_pb2.NODE_ROLE_WORKER)
        assert former.process is not None
        async with asyncio.timeout(20):
            await former.process.wait()
        former.process = None

        async def removed() -> bool:
            await leader.call("RemoveNode", control_pb2.RemoveRequest(ref=old_identity.node_id, force=True))
            return True

        await eventually("its node to be removed", removed)
        message = raft_pb2.RaftMessage(kind=5, to=2, term=99)
        setattr(message, "from", 12345)
        forged = raft_pb2.RaftBatch(cluster_id=old_identity.cluster_id, messages=[message])
        expected = f"node {old_identity.node_id} was removed from the cluster"

        async def is_refused() -> bool:
            return expected in await refusal(old_identity, follower.mtls_addr, "Raft.Exchange", [forged])

        await eventually("the follower to know of the removal", is_refused)
        await leader.kill()

        async def without_leader() -> bool:
            return not (await follower.status()).leader_addr

        await eventually("the follower to have no leader", without_leader)
        assert expected in await refusal(old_identity, follower.mtls_addr, "Raft.Exchange", [forged])


async def test_a_manager_cannot_join_in_the_name_of_another_node() -> None:
    async with manager_cluster() as group:
        await group.bootstrap(2)
        leader = await group.leader()
        [follower] = [host for host in group.managers if host is not leader]
        own, other = follower.identities.require(), leader.identities.require()
        join = raft_pb2.RaftJoinRequest(node_id=other.node_id, addr=follower.mtls_addr)
        said = await refusal(own, leader.mtls_addr, "Raft.Join", join)
        assert f"node {own.node_id} may not join as node {other.node_id}" in said
