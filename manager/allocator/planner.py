"""Allocator planner: keeps the allocation index in step with the view, and retries waiting objects when something was freed.

Run by ``manager.leader``.
"""

from __future__ import annotations

from covey.objects import Network, Node, Object, Service, Task, replace
from covey.states import NodeState, TaskState
from covey.task_predicates import has_ended
from manager.allocator.allocation import HOST_PORTS, NODES, Allocation
from manager.allocator.index import AllocationIndex
from manager.allocator.node_addresses import release_time_ns
from manager.loop import Plan
from manager.service_ports import host_ports
from manager.store.view import View

ObjectKey = tuple[str, str]

_KINDS: dict[type[Object], str] = {Network: "network", Service: "service", Task: "task", Node: "node"}


class AllocatorPlanner:
    """Planner of allocations. Tests read ``index``."""

    def __init__(self) -> None:
        self.index = AllocationIndex()
        self._dirty: dict[str, dict[str, None]] = {}
        self._waiting: dict[ObjectKey, dict[ObjectKey, None]] = {}
        self._release_times_ns: dict[str, int] = {}
        self._host_ports_freed = False
        self._clear()

    def _clear(self) -> None:
        self._dirty = {kind: {} for kind in _KINDS.values()}
        self._waiting = {}
        self._release_times_ns = {}

    def reset(self, view: View) -> None:
        self._clear()
        self.index = AllocationIndex.from_view(view)
        self._dirty["network"] = dict.fromkeys(network.id for network in view.networks)
        self._dirty["service"] = dict.fromkeys(service.id for service in view.services)
        self._dirty["node"] = dict.fromkeys(node.id for node in view.nodes)
        new = [task.id for task in view.tasks if task.status.state is TaskState.NEW]
        self._dirty["task"] = dict.fromkeys(new)

    def observe(self, before: Object | None, after: Object | None) -> None:
        item = after if after is not None else before
        kind = _KINDS.get(type(item)) if item is not None else None
        if item is None or kind is None:
            return
        self._dirty[kind][item.id] = None
        if not isinstance(item, Task) or item.endpoint is None:
            return
        if (
            before is None and item.service_id
        ):  # an own step that may have been refused: the task may lack its endpoint still
            self._dirty["service"][item.service_id] = None
        if (after is None or has_ended(item)) and host_ports(item.endpoint.ports):
            self._host_ports_freed = True

    def plan(self, view: View, now_ns: int) -> Plan:
        due = [node_id for node_id, at_ns in self._release_times_ns.items() if at_ns <= now_ns]
        self._dirty["node"] |= dict.fromkeys(due)
        changed = {kind: list(ids) for kind, ids in self._dirty.items()}
        if not any(changed.values()):
            return Plan((), self._next_release_ns())
        self.index.sync_networks(view, changed["network"])
        self.index.sync_services(view, changed["service"])
        self.index.sync_tasks(view, changed["task"])
        self.index.sync_nodes(view, changed["node"])
        self._retry_waiting(view, changed)
        self._note_release_times(view, changed["node"], now_ns)
        allocation = Allocation(view, self.index, now_ns)
        dirty = self._dirty
        plan = allocation.plan(dirty["network"], dirty["service"], dirty["task"], dirty["node"])
        self._dirty = {kind: {} for kind in _KINDS.values()}
        for waiter, waits_for in allocation.blocked.items():
            self._waiting.setdefault(waits_for, {})[waiter] = None
        return replace(plan, wake_at_ns=self._next_release_ns())

    def _retry_waiting(self, view: View, changed: dict[str, list[str]]) -> None:
        """Makes objects dirty that waited for something that has changed."""
        freed = self.index.networks_with_freed_addresses
        causes: list[ObjectKey] = [("network", key) for key in (*changed["network"], *freed)]
        causes += [("service", key) for key in changed["service"]]
        if changed["network"]:
            causes.append(("networks", ""))
        if changed["service"]:
            causes.append(("services", ""))
        if changed["node"]:
            causes.append(NODES)
        if self._host_ports_freed:
            causes.append(HOST_PORTS)
            self._host_ports_freed = False
        if any(_may_be_ingress(view, key) for key in changed["network"]):
            self._dirty["node"] |= dict.fromkeys(node.id for node in view.nodes)
        self.index.networks_with_freed_addresses.clear()
        while causes:
            for kind, key in self._waiting.pop(causes.pop(), {}):
                self._dirty[kind][key] = None
                if kind not in {"task", "node"}:
                    causes.append((kind, key))

    def _note_release_times(self, view: View, nodes: list[str], now_ns: int) -> None:
        for node_id in nodes:
            node = view.nodes.get(node_id)
            self._release_times_ns.pop(node_id, None)
            if (
                node is not None
                and node.status.state is NodeState.DOWN
                and node.attachments
                and release_time_ns(node) > now_ns
            ):
                self._release_times_ns[node_id] = release_time_ns(node)

    def _next_release_ns(self) -> int:
        return min(self._release_times_ns.values(), default=0)


def _may_be_ingress(view: View, network_id: str) -> bool:
    """Whether a changed network is, or was, the ingress network."""
    network = view.networks.get(network_id)
    return network is None or network.spec.ingress
