"""Leadership that is given away, by a drain or a demotion, demotions that are refused, and what is said of a write without a majority."""

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
    """Updates a node's spec; that the role manager writes the node meanwhile is in nobody's way."""
    node = await through.call("GetNode", control_pb2.GetRequest(ref=id_of(host)))
    for name, value in fields.items():
        setattr(node.spec, name, value)
    await through.call(
        "UpdateNode", control_pb2.UpdateNodeRequest(ref=node.id, version=node.meta.version, spec=node.spec)
    )


async def leader_is_another(here: ManagerCluster, old: ManagerHost) -> ManagerHost:
    async def find() -> ManagerHost | None:
        found = await here.leader()
        return found if found is not old else None

    return await eventually("another manager leads", find)


async def test_a_drained_leader_hands_over_to_one_that_is_not_and_stays_a_manager() -> None:
    async with manager_cluster() as here:
        await here.bootstrap(3)
        old = await here.leader()
        also_drained, fit = [host for host in here.managers if host is not old]
        await change(old, also_drained, availability=objects_pb2.NODE_AVAILABILITY_DRAIN)
        await change(old, old, availability=objects_pb2.NODE_AVAILABILITY_DRAIN)
        assert await leader_is_another(here, old) is fit
        await old.call("CreateService", service("web"))
        node = await fit.call("GetNode", control_pb2.GetRequest(ref=id_of(old)))
        assert node.role == objects_pb2.NODE_ROLE_MANAGER
        assert node.manager_status.reachability == objects_pb2.REACHABILITY_REACHABLE


async def test_a_demotion_that_would_lose_the_quorum_is_refused_at_once_and_one_of_two_leaders_can_go() -> None:
    """1. Of three one is dead: the demotion of the other follower is refused with the numbers. 2. The dead one is demoted. 3. Of the two
    the leader is demoted: it hands over before it leaves.
    """
    async with manager_cluster() as here:
        await here.bootstrap(3)
        leader = await here.leader()
        dead, other = [host for host in here.managers if host is not leader]
        await dead.kill()

        async def noticed() -> bool:
            node = await leader.call("GetNode", control_pb2.GetRequest(ref=id_of(dead)))
            return bool(node.manager_status.reachability == objects_pb2.REACHABILITY_UNREACHABLE)

        await eventually("the dead one is seen", noticed)
        with pytest.raises(grpc.aio.AioRpcError, match="2 managers would be left, 2 must be reachable, 1 are"):
            await change(leader, other, desired_role=objects_pb2.NODE_ROLE_WORKER)
        await change(leader, dead, desired_role=objects_pb2.NODE_ROLE_WORKER)

        async def demoted() -> bool:
            node = await leader.call("GetNode", control_pb2.GetRequest(ref=id_of(dead)))
            return bool(node.role == objects_pb2.NODE_ROLE_WORKER)

        await eventually("the dead one is a worker", demoted)
        await change(leader, leader, desired_role=objects_pb2.NODE_ROLE_WORKER)
        assert leader.process is not None
        async with asyncio.timeout(20):
            assert await leader.process.wait() == 3
        leader.process = None
        await other.call("CreateService", service("alone"))
        assert await here.leader() is other


async def test_a_write_without_a_majority_says_whether_it_may_have_been_made() -> None:
    """One that was under way when the others fell silent: nobody knows. One that comes later: it was not made."""
    async with manager_cluster() as here:
        await here.bootstrap(3)
        leader = await here.leader()
        silent = [host.process for host in here.managers if host is not leader and host.process is not None]
        for process in silent:
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
            for process in silent:
                process.send_signal(signal.SIGCONT)

        async def written() -> bool:
            await leader.call("CreateService", service("after"))
            return True

        await eventually("writes go on", written)
        found = (await leader.call("ListServices", control_pb2.ListRequest())).services
        assert "later" not in {one.spec.annotations.name for one in found}
