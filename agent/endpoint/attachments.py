"""Network attachments of this node's single containers: asked for at the leader, delivered as assignments, ended with a status.

Invariant: every attachment that the managers assign belongs to a container of this node that uses it, or is given back: a terminal
status ends it, and the status queue repeats that until the leader has it. Nothing is kept on disk: after a restart of the daemon the
containers say what they hold, and the next complete set says what is assigned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from grpc import aio

from agent.container.model import ContainerConfig, NetworkRequest
from covey.clock import Clock, wall_clock
from covey.errors import DeadlineError, NotFoundError, UnavailableError
from covey.grpc_errors import error_from_status
from covey.ids import new_id
from covey.objects import ContainerStatus, Task, TaskStatus
from covey.states import TaskState
from coveypb.v1 import dispatcher_pb2

CALL_SECONDS = 12.0
SESSION_SECONDS = 5.0
ASSIGNMENT_SECONDS = 15.0

Report = Callable[[str, TaskStatus], None]


class HeldAttachment(NamedTuple):
    """A container's addresses (with prefix lengths) on a network. ``task_id`` is empty until the managers have named the attachment.
    ``address6`` is empty on a network without IPv6.
    """

    container_id: str
    network_id: str
    address: str
    task_id: str = ""
    address6: str = ""
    mac: str = ""


class Attachments:
    """One per daemon. The worker calls ``assign`` and ``withdraw``, the owner of the sandboxes the rest."""

    def __init__(self, clock: Clock = wall_clock) -> None:
        self._clock = clock
        self._report: Report = _drop
        self._dispatcher: Any = None
        self._connected = asyncio.Event()
        self.is_member = False
        self._held: dict[tuple[str, str], HeldAttachment] = {}
        self._awaited: dict[str, asyncio.Future[None]] = {}

    def bind(self, report: Report) -> None:
        """Set where statuses of attachments go."""
        self._report = report

    def set_dispatcher(self, stub: Any) -> None:
        """The leader's dispatcher while there is a session; None without one."""
        self._dispatcher = stub
        if stub is None:
            self._connected.clear()
        else:
            self._connected.set()

    async def attach(self, config: ContainerConfig, request: NetworkRequest) -> HeldAttachment:
        """An address on the network, once the network has arrived on this node too.

        Raises:
            NotFoundError, PermissionDeniedError: there is no such network, or it is not attachable. UnavailableError: no leader.
        """
        dispatcher = await self._session(request.network)
        task_id = new_id()
        assigned: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited[task_id] = assigned
        try:
            response = await dispatcher.AttachNetwork(_wire_request(task_id, config, request), timeout=CALL_SECONDS)
            held = HeldAttachment(
                config.id, response.network_id, response.address, task_id, response.address6, response.mac
            )
            self._held[config.id, response.network_id] = held
            async with asyncio.timeout(ASSIGNMENT_SECONDS):
                await assigned
        except aio.AioRpcError as error:
            self._end(config.id, task_id)
            raise error_from_status(error.code().name, error.details() or "", error.trailing_metadata()) from error
        except TimeoutError:
            self._end(config.id, task_id)
            raise DeadlineError(
                f"network {request.network} did not arrive on this node within {ASSIGNMENT_SECONDS:g} s; try again"
            ) from None
        except BaseException:
            self._end(config.id, task_id)
            raise
        finally:
            del self._awaited[task_id]
        return held

    def hold(self, held: HeldAttachment) -> None:
        """After a restart of the daemon: a running container has this address."""
        self._held[held.container_id, held.network_id] = held

    def release(self, container_id: str, network_id: str = "") -> None:
        """Give back the container's attachments, or that to one network."""
        for key in [key for key in self._held if key[0] == container_id and network_id in {"", key[1]}]:
            held = self._held.pop(key)
            if held.task_id:
                self._end(container_id, held.task_id)

    def assign(self, task: Task) -> None:
        """The managers assigned an attachment: its container uses it, or it is given back."""
        if task.status.state.terminal or task.desired_state > TaskState.RUNNING:
            return
        awaited = self._awaited.get(task.id)
        if awaited is not None:
            self._report(task.id, self._status(task.attached_container_id, TaskState.RUNNING))
            if not awaited.done():
                awaited.set_result(None)
            return
        container_id = task.attached_container_id
        for attachment in task.networks:
            held = self._held.get((container_id, attachment.network_id))
            if held is not None and held.address == attachment.address and held.task_id in {"", task.id}:
                self._held[container_id, attachment.network_id] = held._replace(task_id=task.id)
                self._report(task.id, self._status(container_id, TaskState.RUNNING))
                return
        self._end(container_id, task.id)

    def withdraw(self, task_id: str) -> HeldAttachment | None:
        """The managers withdrew an attachment. Returns what a container still uses of it."""
        for key, held in self._held.items():
            if held.task_id == task_id:
                return self._held.pop(key)
        return None

    def unassigned(self) -> list[HeldAttachment]:
        """After a complete set: what containers hold and the managers did not assign. It is held no more."""
        lost = [held for held in self._held.values() if not held.task_id]
        for held in lost:
            del self._held[held.container_id, held.network_id]
        return lost

    async def _session(self, network: str) -> Any:
        if not self.is_member:
            raise NotFoundError(f"network {network} not found")
        try:
            async with asyncio.timeout(SESSION_SECONDS):
                await self._connected.wait()
        except TimeoutError:
            raise UnavailableError(
                f"network {network} cannot be looked up: this node has no session with the leader of its cluster"
            ) from None
        return self._dispatcher

    def _end(self, container_id: str, task_id: str) -> None:
        for key, held in list(self._held.items()):
            if held.task_id == task_id:
                del self._held[key]
        self._report(task_id, self._status(container_id, TaskState.SHUTDOWN))

    def _status(self, container_id: str, state: TaskState) -> TaskStatus:
        message = "started" if state is TaskState.RUNNING else "shutdown"
        container = ContainerStatus(container_id=container_id)
        return TaskStatus(timestamp_ns=self._clock(), state=state, message=message, container=container)


def _wire_request(
    task_id: str, config: ContainerConfig, request: NetworkRequest
) -> dispatcher_pb2.AttachNetworkRequest:
    return dispatcher_pb2.AttachNetworkRequest(
        task_id=task_id,
        container_id=config.id,
        container_name=config.name,
        hostname=config.hostname or config.id[:12],
        network_ref=request.network,
        aliases=dict.fromkeys((*request.aliases, config.id[:12])),
        address=request.ip,
        address6=request.ip6,
        mac=request.mac,
    )


def _drop(_task_id: str, _status: TaskStatus) -> None:
    return
