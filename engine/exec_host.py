"""Where an exec is: on this host, or in the container of a task on another node. The exec routes are the same for both.

The id of an exec on another node is TASK.EXEC, so any manager finds it without a memory of its own.
"""

from typing import Protocol

import msgspec

from agent.container.api import Containers, Stream
from agent.container.model import ExecConfig, ExecState, RunStatus
from agent.task_call.model import ExecStatus
from covey.display_name import display_name
from covey.placeholders import task_name
from engine.remote_containers import RemoteContainer
from engine.request_context import EngineServices
from engine.translate import event

_SEPARATOR = "."


class ExecHost(Protocol):
    """The execs of the host, or of a task."""

    async def create(self, config: ExecConfig) -> str:
        """Register an exec. Returns the id for clients."""
        ...

    async def status(self) -> ExecStatus: ...
    async def start(self, *, detach: bool = False, size: tuple[int, int] | None = None) -> Stream | None: ...
    async def resize(self, height: int, width: int) -> None: ...
    def note_detach(self, state: ExecState) -> None: ...


class LocalExecs:
    """An exec of this host. ``ref`` is the exec's id, or that of the container in which one is created."""

    def __init__(self, containers: Containers, ref: str) -> None:
        self._containers = containers
        self._ref = ref

    async def create(self, config: ExecConfig) -> str:
        return await self._containers.exec_create(self._ref, config)

    async def status(self) -> ExecStatus:
        state = self._containers.exec_inspect(self._ref)
        container = self._containers.get(state.container_id)
        paused = container.state.status is RunStatus.PAUSED
        return ExecStatus(state, running=container.state.running, paused=paused)

    async def start(self, *, detach: bool = False, size: tuple[int, int] | None = None) -> Stream | None:
        return await self._containers.exec_start(self._ref, detach=detach, size=size)

    async def resize(self, height: int, width: int) -> None:
        await self._containers.exec_resize(self._ref, height, width)

    def note_detach(self, state: ExecState) -> None:
        self._containers.note_detach(state.container_id, state.id)


class TaskExecs:
    """An exec in the container of a task, on any node. ``user`` is who asked, for the event."""

    def __init__(self, services: EngineServices, user: str, task_id: str, exec_id: str = "") -> None:
        self._services = services
        self._user = user
        self._task_id = task_id
        self._exec_id = exec_id
        self._container = RemoteContainer(services.cluster, task_id)

    async def create(self, config: ExecConfig) -> str:
        exec_id = await self._container.exec_create(config)
        self._exec_id = exec_id
        await self._publish("exec_create", config)
        return f"{self._task_id}{_SEPARATOR}{exec_id}"

    async def status(self) -> ExecStatus:
        found = await self._container.exec_inspect(self._exec_id)
        state = msgspec.structs.replace(found.state, id=f"{self._task_id}{_SEPARATOR}{self._exec_id}")
        return msgspec.structs.replace(found, state=state)

    async def start(self, *, detach: bool = False, size: tuple[int, int] | None = None) -> Stream | None:
        config = (await self._container.exec_inspect(self._exec_id)).state.config
        stream = await self._container.exec_start(self._exec_id, detach=detach, size=size)
        await self._publish("exec_start", config)
        return stream

    async def resize(self, height: int, width: int) -> None:
        await self._container.exec_resize(self._exec_id, height, width)

    def note_detach(self, state: ExecState) -> None:
        """Nothing: the node's own events say what becomes of the exec."""

    async def _publish(self, action: str, config: ExecConfig) -> None:
        """The event, in the log of the manager that was asked. The node's own log has that of the container."""
        cluster = self._services.cluster
        task = await cluster.task(self._task_id)
        node = await cluster.node(task.node_id)
        attributes = {
            "name": task.service_annotations.name,
            "task": task.id,
            "task.name": task_name(task),
            "node": node.id,
            "node.name": display_name(node),
            "execID": self._exec_id,
            "user": self._user,
        }
        text = f"{action}: {' '.join(config.args)}"
        now_ns = self._services.clock()
        self._services.events.publish(
            event.message("service", text, task.service_id, attributes, now_ns, scope="swarm")
        )


def exec_host(services: EngineServices, user: str, exec_id: str) -> ExecHost:
    """Where the exec with this id is. UnavailableError on a worker for one of a task."""
    task_id, separator, own_id = exec_id.partition(_SEPARATOR)
    if separator:
        return TaskExecs(services, user, task_id, own_id)
    return LocalExecs(services.agent.containers, exec_id)
