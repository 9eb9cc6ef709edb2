"""The routing mesh of this node: brings the kernel to the published ports of the cluster's services.

Invariant: a port is reserved on the host before the mesh answers on it; a program that has it keeps it, and the node says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from agent.endpoint.port_plan import ANY4, ANY6, ReachableContainer
from agent.endpoint.port_publisher import PortHost
from agent.network.bpf.loopback6 import LoopbackPort, LoopbackTarget
from agent.network.mesh_state import EndedFlows, MeshHost, MeshState, PublishedServicePort
from agent.network.namespace_state import Fragment
from agent.network.plan.mesh_model import LocalTask
from agent.network.port_registry import PortOwner
from covey.errors import CoveyError
from covey.objects.assignment import AssignmentChange

log = logging.getLogger(__name__)
RETRY_SECONDS = 5.0
_LOOPBACK_OWNER = "mesh"


class Fragments(Protocol):
    """The part of ``agent.network.reconciler.Reconciler`` that the mesh needs."""

    async def put_many(self, fragments: Mapping[str, Fragment | None]) -> Mapping[str, CoveyError]: ...


class RoutingMesh:
    """One per daemon. The worker passes the assignments, the owner of the sandboxes the addresses of tasks' containers."""

    def __init__(
        self, host: MeshHost, ports: PortHost, fragments: Fragments, end_flows: Callable[[EndedFlows], None]
    ) -> None:
        self._state = MeshState(host)
        self._registry = ports.registry
        self._fragments = fragments
        self._loopback = ports.loopback
        self._end_flows = end_flows
        self._lock = asyncio.Lock()
        self._tasks: dict[str, str] = {}
        self._failed: dict[str, Fragment | None] = {}
        self._refused: dict[PublishedServicePort, str] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why this node does not answer on some of the published ports."""
        return tuple(filter(None, (self._state.refusal, *self._refused.values())))

    async def set_host(self, **changes: object) -> None:
        """Change what the mesh knows of this host: fields of `MeshHost`."""
        self._state.set_host(msgspec.structs.replace(self._state.host, **changes))
        await self.settle()

    async def apply(self, changes: Sequence[AssignmentChange]) -> None:
        """Take over assignments and bring the kernel to them. What fails is logged and tried again with the next call."""
        self._state.apply(changes)
        await self.settle()

    async def set_container(self, container_id: str, task_id: str, found: ReachableContainer) -> None:
        """A task's container on this node is reached like this now."""
        self._tasks[container_id] = task_id
        self._state.set_container(
            task_id, LocalTask(address=found.v4, address6=found.v6, device=found.device, neighbours=found.subnets)
        )
        await self.settle()

    async def set_subnets(self, subnets: tuple[str, ...]) -> None:
        """The containers of this node have addresses of these subnets."""
        if subnets != self._state.host.container_subnets:
            await self.set_host(container_subnets=subnets)

    async def remove_container(self, container_id: str) -> None:
        task_id = self._tasks.pop(container_id, "")
        if task_id:
            self._state.set_container(task_id, None)
            await self.settle()

    async def settle(self) -> None:
        if not self._state.has_changes and not self._failed and not self._refused:
            return
        async with self._lock:
            await asyncio.to_thread(self._reserve, self._state.ports())
            changes = {**self._failed, **self._state.take_changes()}
            refused = {f"mesh/port/{port.protocol}/{port.number}" for port in self._refused}
            wanted = {key: None if key in refused else fragment for key, fragment in changes.items()}
            if not wanted:
                return
            errors = await self._fragments.put_many(wanted)
            self._failed = {key: changes[key] for key in changes if key in errors or (key in refused and changes[key])}
            for key, error in errors.items():
                log.warning("routing mesh: %s: %s", key, error.message)
            self._loopback.set(_LOOPBACK_OWNER, self._loopback_ports())
            ended = self._state.take_ended_flows()
            if ended.udp or ended.gone:
                await asyncio.to_thread(self._end_flows, ended)

    async def retry_periodically(self) -> None:
        """Take over ports that other programs have given up, and carry out what failed. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if self._failed or self._refused:
                await self.settle()

    def _reserve(self, ports: list[PublishedServicePort]) -> None:
        """Reserve the ports of the mesh, and free those that are published no more."""
        wanted = {_owner(port).id: port for port in ports}
        for owner_id in self._registry.owners(_PREFIX):
            if owner_id not in wanted:
                self._registry.release(owner_id)
        refused: dict[PublishedServicePort, str] = {}
        for port in ports:
            try:
                self._registry.reserve(_owner(port), port.protocol, (ANY4, ANY6), port.number, port.number)
            except CoveyError as error:
                refused[port] = (
                    f"this node does not answer on port {port.number}/{port.protocol} of service {port.service_name}: "
                    f"{error.message}"
                )
                if port not in self._refused:
                    log.warning("%s", refused[port])
        self._refused = refused

    def _loopback_ports(self) -> dict[LoopbackPort, LoopbackTarget]:
        """The host's own programs reach the mesh on [::1] as on 127.0.0.1."""
        return {
            LoopbackPort(port.protocol, port.number): LoopbackTarget("127.0.0.1", port.number)
            for port in self._state.ports()
            if port not in self._refused and port.protocol != "sctp"
        }


_PREFIX = "mesh/"


def _owner(port: PublishedServicePort) -> PortOwner:
    return PortOwner(f"{_PREFIX}{port.service_id}/{port.protocol}/{port.number}", f"service {port.service_name}")
