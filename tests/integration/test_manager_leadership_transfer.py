"""Leadership transfer by drain or demotion, refused demotions, and errors of writes without a majority."""

import asyncio
import signal

import grpc
import pytest

from coveypb.v1 import control_pb2, objects_pb2
from tests.support.manager_processes import ManagerCluster, ManagerHost, eventually, manager_cluster

pytestmark = pytest.mark.timeout(240)


def service(name: str) -> control_pb2.CreateServiceRequest:
    spec = objects_pb2.ServiceSpec(annotations=objects_pb2.Annotations(name=name), replicas=1)
    spec.task.container.image = "busybox:latest"
    return control_pb2.CreateServiceRequest(spec=spec)


def id_of(host: ManagerHost) -> str:
    return host.identities.require().node_id


async def change(through: ManagerHost, host: ManagerHost, **fields: int) -> None:
    """Update a node's spec. Concurrent writes of the role manager do not conflict with it."""
    node = await through.call("GetNode", control_pb2.GetRequest(ref=id_of(host)))
    for name, value in fields.items():
        setattr(node.spec, name, value)
    await through.call(
        "UpdateNode", control_pb2.UpdateNodeRequest(ref=node.id, version=node.meta.version, spec=node.spec)
    )


async def wait_another_leader(group: ManagerCluster, old: ManagerHost) -> ManagerHost:
    async def find() -> ManagerHost | None:
        found = await group.leader()
        return found if found is not old else None

    return await eventually("another leader", find)


async def test_a_drained_leader_transfers_leadership_to_an_active_manager_and_stays_a_manager() -> None:
    async with manager_cluster() as group:
        await group.bootstrap(3)
        old = await group.leader()
        also_drained, active = [host for host in group.managers if host is not old]
        await change(old, also_drained, availability=objects_pb2.NODE_AVAILABILITY_DRAIN)
        await change(old, old, availability=objects_pb2.NODE_AVAILABILITY_DRAIN)
        assert await wait_another_leader(group, old) is active
        await old.call("CreateService", service("web"))
        node = await active.call("GetNode", control_pb2.GetRequest(ref=id_of(old)))
        assert node.role == objects_pb2.NODE_ROLE_MANAGER
        assert node.manager_status.reachability == objects_pb2.REACHABILITY_REACHABLE


async def test_a_demotion_that_would_lose_the_quorum_is_refused_and_a_leader_can_be_demoted() -> None:
    """1. One of three managers is dead: the demotion of the other follower is refused with the numbers. 2. The dead one is demoted. 3. The
    leader is demoted: it transfers leadership before it leaves.
    """
    async with manager_cluster() as group:
        await group.bootstrap(3)
        leader = await group.leader()
        dead, other = [host for host in group.managers if host is not leader]
        await dead.kill()

        async def noticed() -> bool:
            node = await leader.call("GetNode", control_pb2.GetRequest(ref=id_of(dead)))
            return bool(node.manager_status.reachability == objects_pb2.REACHABILITY_UNREACHABLE)

        await eventually("the dead one to be unreachable", noticed)
        with pytest.raises(grpc.aio.AioRpcError, match="2 managers would be left, 2 must be reachable, 1 are"):
            await change(leader, other, desired_role=objects_pb2.NODE_ROLE_WORKER)
        await change(leader, dead, desired_role=objects_pb2.NODE_ROLE_WORKER)

        async def demoted() -> bool:
            node = await leader.call("GetNode", control_pb2.GetRequest(ref=id_of(dead)))
            return bool(node.role == objects_pb2.NODE_ROLE_WORKER)

        await eventually("the dead one to be a worker", demoted)
        await change(leader, leader, desired_role=objects_pb2.NODE_ROLE_WORKER)
        assert leader.process is not None
        async with asyncio.timeout(20):
            assert await leader.process.wait() == 3
        leader.process = None
        await other.call("CreateService", service("alone"))
        assert await group.leader() is other


async def test_a_write_without_a_majority_reports_whether_its_outcome_is_unknown() -> None:
    """A write in progress when the others are paused has an unknown outcome. A later one is refused."""
    async with manager_cluster() as group:
        await group.bootstrap(3)
        leader = await group.leader()
        paused = [host.process for host in group.managers if host is not leader and host.process is not None]
        for process in paused:
            process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(grpc.aio.AioRpcError) as lost:
                await leader.call("CreateService", service("during"))
            assert lost.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert "may or may not" in (lost.value.details() or "")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await leader.call("CreateService", service("later"))
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        finally:
            for process in paused:
                process.send_signal(signal.SIGCONT)

        async def written() -> bool:
            await leader.call("CreateService", service("after"))
            return True

        await eventually("writes to succeed again", written)
        found = (await leader.call("ListServices", control_pb2.ListRequest())).services
        assert "later" not in {one.spec.annotations.name for one in found}
