"""Three manager processes: forwarding of writes, sessions, role changes and leader failures."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import grpc
import pytest

from agent.identity import renew_certificate
from covey.objects import TaskStatus
from covey.objects.assignment import AssignmentKind
from covey.states import NodeRole, TaskState
from coveypb.v1 import control_pb2, objects_pb2
from tests.support.manager_processes import ManagerCluster, ManagerHost, eventually, manager_cluster

pytestmark = pytest.mark.timeout(240)


@contextlib.asynccontextmanager
async def three_managers() -> AsyncIterator[tuple[ManagerCluster, list[ManagerHost]]]:
    async with manager_cluster() as group:
        yield group, await group.bootstrap(3)


def service(name: str) -> control_pb2.CreateServiceRequest:
    spec = objects_pb2.ServiceSpec(annotations=objects_pb2.Annotations(name=name), replicas=1)
    spec.task.container.image = "busybox:latest"
    return control_pb2.CreateServiceRequest(spec=spec)


async def leader_and_followers(group: ManagerCluster) -> tuple[ManagerHost, list[ManagerHost]]:
    leader = await group.leader()
    return leader, [host for host in group.managers if host is not leader and host.process is not None]


async def node_of(host: ManagerHost, ref: str) -> objects_pb2.Node:
    return await host.call("GetNode", control_pb2.GetRequest(ref=ref))


async def test_a_follower_forwards_writes_streams_and_errors() -> None:
    async with three_managers() as (group, _):
        _leader, [follower, other] = await leader_and_followers(group)
        async with follower.control() as stub:
            events = stub.WatchHistory(control_pb2.WatchHistoryRequest(kinds=["service"]), timeout=30)
            await events.initial_metadata()  # arrives when the watch is established
            created = await follower.call("CreateService", service("web"))
            seen = await events.read()
            assert (seen.action, seen.object_id, seen.by) == (
                "create",
                created.id,
                follower.identities.require().node_id,
            )
            events.cancel()
        found = await other.call("GetService", control_pb2.GetRequest(ref="web"))
        assert found.id == created.id
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await other.call("CreateService", service("web"))
        assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
        assert refused.value.details() == "name conflicts with an existing object: service web already exists"


async def test_a_node_joins_through_a_follower_and_its_session_moves_to_the_leader() -> None:
    async with three_managers() as (group, _):
        _leader, [follower, _other] = await leader_and_followers(group)
        agent = group.agent()
        await agent.join((await follower.tokens())[NodeRole.WORKER], follower)
        agent.start_session([follower.mtls_addr])

        async def ready() -> bool:
            return (await node_of(follower, agent.node_id)).status.state == objects_pb2.NODE_STATE_READY

        await eventually("the node to be READY", ready)
        assert agent.session is not None
        await eventually("the agent to know all managers", lambda: len(agent.session.managers) == 3)


async def test_after_the_leader_is_killed_writes_succeed_and_agents_reconnect() -> None:
    async with three_managers() as (group, _):
        agent = group.agent()
        leader, [follower, _other] = await leader_and_followers(group)
        await agent.join((await follower.tokens())[NodeRole.WORKER], follower)
        agent.start_session([follower.mtls_addr])
        await follower.call("CreateService", service("before"))
        [task] = await eventually("a task", lambda: agent.worker.items_of(AssignmentKind.TASK))
        agent.worker.report(task.id, TaskStatus(state=TaskState.RUNNING))
        sessions = len({state.session_id for state in agent.states})
        began = asyncio.get_running_loop().time()
        await leader.kill()

        async def written() -> bool:
            await follower.call("CreateService", service("after"))
            return True

        await eventually("a write to succeed", written, seconds=15)
        assert asyncio.get_running_loop().time() - began < 10
        await eventually(
            "the agent to find the new leader", lambda: len({s.session_id for s in agent.states}) > sessions
        )
        await eventually("the new service's task", lambda: len(agent.worker.items_of(AssignmentKind.TASK)) == 2)

        async def reported() -> bool:
            kept = await follower.call("GetTask", control_pb2.GetRequest(ref=task.id))
            return bool(kept.status.state == objects_pb2.TASK_STATE_RUNNING)

        await eventually("the status to be reported again", reported)
        tasks = (await follower.call("ListTasks", control_pb2.ListRequest())).tasks
        assert len(tasks) == 2, "the running task was replaced"


async def test_agents_and_followers_leave_a_paused_leader() -> None:
    """The leader is paused, as if its network were cut. No node is marked DOWN because of it."""
    async with three_managers() as (group, _):
        leader, [follower, _other] = await leader_and_followers(group)
        agent = group.agent()
        await agent.join((await follower.tokens())[NodeRole.WORKER], follower)
        agent.start_session([follower.mtls_addr])
        await eventually("a session", lambda: agent.states)
        first = agent.states[-1].session_id
        async with follower.control() as stub:
            events = stub.WatchHistory(control_pb2.WatchHistoryRequest())
            await events.initial_metadata()
            assert leader.process is not None
            leader.process.send_signal(signal.SIGSTOP)
            try:

                async def written() -> bool:
                    await follower.call("CreateService", service("after"))
                    return True

                await eventually("a write to succeed", written, seconds=15)
                await eventually(
                    "the agent to leave the paused leader", lambda: agent.states[-1].session_id != first, seconds=15
                )
                assert (await node_of(follower, agent.node_id)).status.state == objects_pb2.NODE_STATE_READY
                async with asyncio.timeout(15):
                    assert "the leader changed while this stream was open" in await events.details()
            finally:
                leader.process.send_signal(signal.SIGCONT)

        async def follows() -> bool:
            status = await leader.status()
            return bool(status.leader_addr) and not status.is_leader

        await eventually("it to be a follower", follows)


async def test_a_stopped_leader_transfers_leadership_and_returns_with_its_state() -> None:
    async with three_managers() as (group, _):
        leader, [follower, _other] = await leader_and_followers(group)
        await follower.call("CreateService", service("web"))
        assert await leader.stop() == 0
        await follower.call("CreateService", service("more"))
        await leader.start("restart")

        async def caught_up() -> bool:
            mine, theirs = await leader.status(), await follower.status()
            return bool(mine.applied >= theirs.applied > 0 and mine.leader_addr)

        await eventually("it to catch up", caught_up)
        names = {
            s.spec.annotations.name for s in (await leader.call("ListServices", control_pb2.ListRequest())).services
        }
        assert names == {"web", "more"}


async def demote(host: ManagerHost, ref: str) -> None:
    node = await node_of(host, ref)
    node.spec.desired_role = objects_pb2.NODE_ROLE_WORKER
    await host.call("UpdateNode", control_pb2.UpdateNodeRequest(ref=ref, version=node.meta.version, spec=node.spec))


async def test_a_manager_is_demoted_and_removed_by_two_consecutive_commands() -> None:
    """A dead manager and then the leader are removed through the remaining one. The removal waits for the demotion."""
    async with three_managers() as (group, _):
        leader, [dead, staying] = await leader_and_followers(group)
        await dead.kill()
        for gone in (dead, leader):
            ref = gone.identities.require().node_id
            await demote(staying, ref)
            removed = await staying.call("RemoveNode", control_pb2.RemoveRequest(ref=ref, force=True))
            assert removed.id == ref
        nodes = (await staying.call("ListNodes", control_pb2.ListRequest())).nodes
        assert [node.id for node in nodes] == [staying.identities.require().node_id]


async def test_roles_follow_the_desired_role_and_the_quorum_is_kept() -> None:
    async with three_managers() as (group, _):
        leader, [follower, other] = await leader_and_followers(group)
        ref = follower.identities.require().node_id
        await demote(leader, ref)
        assert follower.process is not None
        async with asyncio.timeout(20):
            assert await follower.process.wait() == 3, "the exit code of a removed manager"
        follower.process = None

        async def demoted() -> bool:
            return (await node_of(leader, ref)).role == objects_pb2.NODE_ROLE_WORKER

        await eventually("it to be a worker", demoted)
        renewed = await renew_certificate(follower.identities, [leader.mtls_addr, other.mtls_addr])
        assert renewed.role is NodeRole.WORKER
        await other.kill()

        async def unreachable() -> bool:
            status = (await leader.call("Status", control_pb2.ManagerStatusRequest())).is_leader
            gone = await node_of(leader, other.identities.require().node_id)
            return bool(status and gone.manager_status.reachability == objects_pb2.REACHABILITY_UNREACHABLE)

        with contextlib.suppress(AssertionError):
            await eventually("the other to be unreachable", unreachable, seconds=3)
        await other.start("restart")

        async def reachable() -> bool:
            back = await node_of(leader, other.identities.require().node_id)
            return back.manager_status.reachability == objects_pb2.REACHABILITY_REACHABLE

        await eventually("both managers to be reachable", reachable)


async def test_a_promoted_worker_joins_the_group() -> None:
    async with manager_cluster() as group:
        [first] = await group.bootstrap(1)
        host = group.manager()
        agent = group.agent()
        agent.identities = host.identities
        await agent.join((await first.tokens())[NodeRole.WORKER], first)
        agent.start_session([first.mtls_addr])
        await eventually("a session", lambda: agent.states)
        node = await node_of(first, agent.node_id)
        node.spec.desired_role = objects_pb2.NODE_ROLE_MANAGER
        await first.call(
            "UpdateNode", control_pb2.UpdateNodeRequest(ref=node.id, version=node.meta.version, spec=node.spec)
        )
        await eventually(
            "the session to report the new role", lambda: agent.states[-1].node.role == objects_pb2.NODE_ROLE_MANAGER
        )
        assert (await renew_certificate(host.identities, [first.mtls_addr])).role is NodeRole.MANAGER
        await host.start("join", [first.mtls_addr])

        async def both() -> bool:
            status = (await node_of(first, agent.node_id)).manager_status
            return status.reachability == objects_pb2.REACHABILITY_REACHABLE

        await eventually("two members in the group", both)
        with pytest.raises(grpc.aio.AioRpcError, match="must be demoted to worker before removal"):
            await first.call("RemoveNode", control_pb2.RemoveRequest(ref=node.id, force=True))
