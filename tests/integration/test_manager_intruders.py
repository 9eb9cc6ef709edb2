"""Former managers with a manager certificate: what the leader and a follower still refuse."""

import asyncio
from typing import Any

import grpc
import pytest

from agent.identity import NodeIdentity
from coveypb.v1 import control_pb2, control_pb2_grpc, objects_pb2, raft_pb2, raft_pb2_grpc
from tests.support.manager_processes import ManagerHost, eventually, manager_cluster

pytestmark = pytest.mark.timeout(240)


async def refusal(identity: NodeIdentity, addr: str, method: str, request: Any) -> str:
    """The sentence with which a manager refuses a call made with this identity."""
    async with identity.channel(addr) as channel:
        service, name = method.split(".")
        stub: Any = {"Raft": raft_pb2_grpc.RaftStub, "Control": control_pb2_grpc.ControlStub}[service](channel)
        call = getattr(stub, name)(iter(request) if isinstance(request, list) else request, timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
    return f"{refused.value.code().name}: {refused.value.details()}"


async def want(leader: ManagerHost, ref: str, role: int) -> None:
    node = await leader.call("GetNode", control_pb2.GetRequest(ref=ref))
    node.spec.desired_role = role
    await leader.call("UpdateNode", control_pb2.UpdateNodeRequest(ref=ref, version=node.meta.version, spec=node.spec))


async def test_a_demoted_managers_certificate_opens_neither_the_cluster_nor_the_group() -> None:
    """1. A manager is demoted; its certificate says manager for months. 2. It asks to join the group again, at the leader or at a follower
    which would ask the leader in its place. 3. As a member it would be sent the snapshot: every secret and the key of the CA.
    """
    async with manager_cluster() as here:
        await here.bootstrap(3)
        leader = await here.leader()
        left, follower = [host for host in here.managers if host is not leader]
        kept = left.identities.require()
        ids = {host: host.identities.require().node_id for host in here.managers}
        await want(leader, kept.node_id, objects_pb2.NODE_ROLE_WORKER)
        assert left.process is not None
        async with asyncio.timeout(20):
            await left.process.wait()
        left.process = None

        async def demoted() -> bool:
            node = await leader.call("GetNode", control_pb2.GetRequest(ref=kept.node_id))
            return bool(node.role == objects_pb2.NODE_ROLE_WORKER)

        await eventually("it is a worker", demoted)
        join = raft_pb2.RaftJoinRequest(node_id=kept.node_id, addr=left.mtls_addr)
        assert "is a worker now" in await refusal(
            kept, leader.mtls_addr, "Control.GetCluster", control_pb2.GetClusterRequest()
        )
        assert "is a worker now" in await refusal(kept, leader.mtls_addr, "Raft.Join", join)
        assert "is not a manager of this cluster" in await refusal(kept, follower.mtls_addr, "Raft.Join", join)
        for_another = raft_pb2.RaftJoinRequest(node_id=ids[leader], addr=left.mtls_addr)
        assert "PERMISSION_DENIED" in await refusal(kept, follower.mtls_addr, "Raft.Join", for_another)
        leave = raft_pb2.RaftLeaveRequest(node_id=ids[leader])
        assert "is not a manager of this cluster" in await refusal(kept, follower.mtls_addr, "Raft.Leave", leave)

        status = await leader.status()
        message = raft_pb2.RaftMessage(kind=1, to=1, term=status.term + 9)
        setattr(message, "from", status.leader_raft_id)
        forged = raft_pb2.RaftBatch(cluster_id=kept.cluster_id, messages=[message])
        said = await refusal(kept, follower.mtls_addr, "Raft.Exchange", [forged])
        assert f"node {kept.node_id} may not send as manager {ids[leader]}" in said


async def test_a_removed_managers_certificate_is_refused_by_every_manager_also_while_nobody_leads() -> None:
    """1. A manager is demoted and its node removed; its certificate says manager for months. 2. A follower refuses it before it looks at
    the call. 3. The leader dies: the follower follows nobody, and would take a message of a member that it does not know.
    """
    async with manager_cluster() as here:
        await here.bootstrap(3)
        leader = await here.leader()
        left, follower = [host for host in here.managers if host is not leader]
        kept = left.identities.require()
        await want(leader, kept.node_id, objects_pb2.NODE_ROLE_WORKER)
        assert left.process is not None
        async with asyncio.timeout(20):
            await left.process.wait()
        left.process = None

        async def removed() -> bool:
            await leader.call("RemoveNode", control_pb2.RemoveRequest(ref=kept.node_id, force=True))
            return True

        await eventually("its node is removed", removed)
        message = raft_pb2.RaftMessage(kind=5, to=2, term=99)
        setattr(message, "from", 12345)
        forged = raft_pb2.RaftBatch(cluster_id=kept.cluster_id, messages=[message])
        expected = f"node {kept.node_id} was removed from the cluster"

        async def heard() -> bool:
            return expected in await refusal(kept, follower.mtls_addr, "Raft.Exchange", [forged])

        await eventually("the follower has heard of the removal", heard)
        await leader.kill()

        async def alone() -> bool:
            return not (await follower.status()).leader_addr

        await eventually("the follower follows nobody", alone)
        assert expected in await refusal(kept, follower.mtls_addr, "Raft.Exchange", [forged])


async def test_a_manager_joins_for_itself_alone() -> None:
    async with manager_cluster() as here:
        await here.bootstrap(2)
        leader = await here.leader()
        [follower] = [host for host in here.managers if host is not leader]
        own, other = follower.identities.require(), leader.identities.require()
        join = raft_pb2.RaftJoinRequest(node_id=other.node_id, addr=follower.mtls_addr)
        said = await refusal(own, leader.mtls_addr, "Raft.Join", join)
        assert f"node {own.node_id} may not join as node {other.node_id}" in said
