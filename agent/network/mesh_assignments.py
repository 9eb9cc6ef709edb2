"""What this node was told of the ingress network: its nodes, tasks and services, and which parts of the mesh changed. Pure.

Invariant: `changed` names the parts whose fragments may be others now: the base, a node, a task or a service. A change of one task
concerns the task and its service.

Owned by `mesh_state`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.network.plan.mesh_model import LocalTask, MeshBackend
from covey.network_options import is_encrypted
from covey.objects import Network
from covey.objects.assignment import AssignmentChange, AssignmentKind, NetworkEndpoint, NodeEndpoint, VirtualService

BASE = "mesh"


class MeshAssignments:
    """`host` is this node's end of the tunnels, by which it knows itself. `gone` are addresses that no connection may lead to any more."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.network: Network | None = None
        self.nodes: dict[str, NodeEndpoint] = {}
        self.tasks: dict[str, NetworkEndpoint] = {}
        self.services: dict[str, VirtualService] = {}
        self.containers: dict[str, LocalTask] = {}
        self.changed: set[str] = set()
        self.gone: set[str] = set()
        self._tasks_of: dict[str, dict[str, None]] = {}

    def apply(self, changes: Iterable[AssignmentChange]) -> None:
        """Take over assignments. Those of other networks are ignored."""
        for change in changes:
            item = change.item
            if isinstance(item, Network):
                self._set_network(item)
            elif isinstance(item, NodeEndpoint) and self._is_ingress(item.network_id):
                self._set_node(change.id, item)
            elif isinstance(item, NetworkEndpoint) and self._is_ingress(item.network_id):
                self._set_task(change.id, item)
            elif isinstance(item, VirtualService) and self._is_ingress(item.network_id):
                self._set_service(change.id, item)
            elif item is None:
                self._remove(change.kind, change.id)

    def set_container(self, task_id: str, container: LocalTask | None) -> None:
        """A task's container on this node, None once it is gone."""
        if container == self.containers.get(task_id):
            return
        if container is None:
            self.gone |= set(addresses_of([self.containers.pop(task_id)]))
        else:
            self.containers[task_id] = container
        for key, task in self.tasks.items():
            if task.task_id == task_id:
                self._task_changed(key, task)

    @property
    def encrypted(self) -> bool:
        return self.network is not None and is_encrypted(self.network.spec.driver.options)

    @property
    def own(self) -> NodeEndpoint | None:
        """This node."""
        return next((node for node in self.nodes.values() if node.host and node.host == self.host), None)

    def is_own(self, node_id: str) -> bool:
        own = self.own
        return own is not None and own.node_id == node_id

    def node_of(self, task: NetworkEndpoint) -> NodeEndpoint | None:
        return next((node for node in self.nodes.values() if node.node_id == task.node_id), None)

    def tasks_of(self, service_id: str) -> list[NetworkEndpoint]:
        return [self.tasks[key] for key in self._tasks_of.get(service_id, ())]

    def everything_changed(self) -> None:
        self.changed.add(BASE)
        self.changed.update(f"node {key}" for key in self.nodes)
        self.changed.update(f"task {key}" for key in self.tasks)
        self.changed.update(f"service {key}" for key in self.services)

    def _is_ingress(self, network_id: str) -> bool:
        return self.network is not None and network_id == self.network.id

    def _set_network(self, network: Network) -> None:
        if network.spec.ingress and network != self.network:
            if self.network is not None and network.id != self.network.id:
                self._forget()
            self.network = network
            self.everything_changed()

    def _set_node(self, key: str, node: NodeEndpoint) -> None:
        before = self.nodes.get(key)
        if node != before:
            self.nodes[key] = node
            for changed in filter(None, (before, node)):
                self._node_changed(key, changed)

    def _set_task(self, key: str, task: NetworkEndpoint) -> None:
        if task != self.tasks.get(key):
            self.tasks[key] = task
            self._tasks_of.setdefault(task.service_id, {})[key] = None
            self._task_changed(key, task)

    def _set_service(self, key: str, service: VirtualService) -> None:
        if service != self.services.get(key):
            self.services[key] = service
            self.changed.add(f"service {key}")

    def _remove(self, kind: AssignmentKind, key: str) -> None:
        if kind is AssignmentKind.NETWORK and self._is_ingress(key):
            self._forget()
            self.network = None
        elif kind is AssignmentKind.NODE_ENDPOINT and (node := self.nodes.pop(key, None)):
            self._node_changed(key, node)
        elif kind is AssignmentKind.ENDPOINT and (task := self.tasks.pop(key, None)):
            self.gone |= set(addresses_of([MeshBackend(address=task.address, address6=task.address6)]))
            self._tasks_of[task.service_id].pop(key)
            if not self._tasks_of[task.service_id]:
                del self._tasks_of[task.service_id]
            self._task_changed(key, task)
        elif kind is AssignmentKind.VIRTUAL_SERVICE and key in self.services:
            del self.services[key]
            self.changed.add(f"service {key}")

    def _forget(self) -> None:
        """The ingress network is gone, or another one is in its place."""
        self.everything_changed()
        self.nodes.clear()
        self.tasks.clear()
        self._tasks_of.clear()
        self.services.clear()

    def _node_changed(self, key: str, node: NodeEndpoint) -> None:
        if node.host == self.host:
            self.everything_changed()
        self.changed.add(f"node {key}")
        for name, task in self.tasks.items():
            if task.node_id != node.node_id:
                continue
            self.changed.add(f"task {name}")
            if self.encrypted:
                self._task_changed(name, task)

    def _task_changed(self, key: str, task: NetworkEndpoint) -> None:
        self.changed.add(f"task {key}")
        self.changed.update(
            f"service {name}" for name in (f"{task.service_id}/{task.network_id}",) if name in self.services
        )


def addresses_of(backends: Iterable[MeshBackend]) -> Iterator[str]:
    """The addresses of both families that these have."""
    for backend in backends:
        yield from filter(None, (backend.address, backend.address6))
