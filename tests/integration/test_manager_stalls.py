"""A paused manager process (SIGSTOP, a frozen VM): its nodes stay READY and its tasks are not replaced."""

import asyncio
import os
import signal

import pytest

from covey.objects import TaskStatus
from covey.objects.assignment import AssignmentKind
from covey.states import NodeRole, TaskState
from coveypb.v1 import control_pb2, objects_pb2
from tests.support.manager_processes import AgentHost, ManagerHost, eventually, manager_cluster

pytestmark = pytest.mark.timeout(180)

STALL_SECONDS = 5.0
"""Longer than the heartbeat timeout of 3 s, and than an agent waits for a silent manager."""


async def _node(manager: ManagerHost, agent: AgentHost) -> objects_pb2.Node:
    node: objects_pb2.Node = await manager.call("GetNode", control_pb2.GetRequest(ref=agent.node_id))
    return node


async def _state(manager: ManagerHost, agent: AgentHost) -> int:
    return int((await _node(manager, agent)).status.state)


async def _task_states(manager: ManagerHost) -> dict[str, tuple[str, int]]:
    """Node and desired state of every task, by id."""
    tasks = (await manager.call("ListTasks", control_pb2.ListRequest())).tasks
    return {task.id: (task.node_id, int(task.desired_state)) for task in tasks}


async def _stall(manager: ManagerHost) -> None:
    assert manager.process is not None
    os.kill(manager.process.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(STALL_SECONDS)
    finally:
        os.kill(manager.process.pid, signal.SIGCONT)


async def _run_service(manager: ManagerHost, agents: list[AgentHost], replicas: int) -> None:
    spec = objects_pb2.ServiceSpec(annotations=objects_pb2.Annotations(name="web"), replicas=replicas)
    spec.task.container.image = "busybox:latest"
    await manager.call("CreateService", control_pb2.CreateServiceRequest(spec=spec))
    await eventually(
        "every task to be assigned", lambda: sum(len(a.worker.items_of(AssignmentKind.TASK)) for a in agents) == 4
    )
    for agent in agents:
        for task in agent.worker.items_of(AssignmentKind.TASK):
            agent.worker.report(task.id, TaskStatus(state=TaskState.RUNNING))


async def test_a_paused_manager_replaces_no_task_and_still_detects_a_dead_node() -> None:
    """1. The only manager is paused for longer than the heartbeat timeout. 2. It resumes and marks no healthy node DOWN. 3. One agent stops,
    and its node is marked DOWN.
    """
    async with manager_cluster() as group:
        [manager] = await group.bootstrap(1)
        agents = [group.agent(), group.agent()]
        token = (await manager.tokens())[NodeRole.WORKER]
        for agent in agents:
            await agent.join(token, manager)
            agent.start_session([manager.mtls_addr])
        for agent in agents:
            await eventually(
                "the node to be READY", lambda agent=agent: _has_state(manager, agent, objects_pb2.NODE_STATE_READY)
            )
        await _run_service(manager, agents, 4)
        before = await _task_states(manager)
        await _stall(manager)
        for agent in agents:
            await eventually(
                "the node to be READY again",
                lambda agent=agent: _has_state(manager, agent, objects_pb2.NODE_STATE_READY),
            )
        await asyncio.sleep(4)  # longer than every deadline that may be pending
        assert await _task_states(manager) == before
        assert "was stalled for" in manager.log.read_text()
        assert " is DOWN" not in manager.log.read_text()
        dead, alive = agents
        await dead.stop_session()
        await eventually("the stopped node to be DOWN", lambda: _has_state(manager, dead, objects_pb2.NODE_STATE_DOWN))
        assert await _state(manager, alive) == objects_pb2.NODE_STATE_READY


async def _has_state(manager: ManagerHost, agent: AgentHost, state: int) -> bool:
    return await _state(manager, agent) == state
