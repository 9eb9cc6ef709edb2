"""Allocator planner: keeps the allocation index in step with the view, and retries waiting objects when something was freed.

Run by ``manager.leader``.
"""

from __future__ import annotations

from covey.objects import Network, Object, Service, Task
from covey.states import TaskState
from manager.allocator.allocation import Allocation
from manager.allocator.index import AllocationIndex
from manager.loop import Plan
from manager.store.view import View

ObjectKey = tuple[str, str]


class AllocatorPlanner:
    """Planner of allocations. Tests read ``index``."""

    def __init__(self) -> None:
        self.index = AllocationIndex()
        self._dirty: dict[str, dict[str, None]] = {}
        self._waiting: dict[ObjectKey, dict[ObjectKey, None]] = {}
        self._clear()

    def _clear(self) -> None:
        self._dirty = {"network": {}, "service": {}, "task": {}}
        self._waiting = {}

    def reset(self, view: View) -> None:
        self._clear()
        self.index = AllocationIndex.from_view(view)
        self._dirty["network"] = dict.fromkeys(network.id for network in view.networks)
        self._dirty["service"] = dict.fromkeys(service.id for service in view.services)
        new = [task.id for task in view.tasks if task.status.state is TaskState.NEW]
        self._dirty["task"] = dict.fromkeys(new)

    def observe(self, before: Object | None, after: Object | None) -> None:
        item = after if after is not None else before
        if isinstance(item, Network):
            self._dirty["network"][item.id] = None
        elif isinstance(item, Service):
            self._dirty["service"][item.id] = None
        elif isinstance(item, Task):
            self._dirty["task"][item.id] = None

    def plan(self, view: View, now_ns: int) -> Plan:
        networks, services, tasks = (list(self._dirty[kind]) for kind in ("network", "service", "task"))
        if not (networks or services or tasks):
            return Plan()
        self.index.sync_networks(view, networks)
        self.index.sync_services(view, services)
        self.index.sync_tasks(view, tasks)
        self._retry_waiting(networks, services)
        allocation = Allocation(view, self.index, now_ns)
        plan = allocation.plan(self._dirty["network"], self._dirty["service"], self._dirty["task"])
        self._dirty = {"network": {}, "service": {}, "task": {}}
        for waiter, waits_for in allocation.blocked.items():
            self._waiting.setdefault(waits_for, {})[waiter] = None
        return plan

    def _retry_waiting(self, networks: list[str], services: list[str]) -> None:
        """Makes objects dirty that waited for something that has changed."""
        causes: list[ObjectKey] = [("network", key) for key in (*networks, *self.index.networks_with_freed_addresses)]
        causes += [("service", key) for key in services]
        if networks:
            causes.append(("networks", ""))
        if services:
            causes.append(("services", ""))
        self.index.networks_with_freed_addresses.clear()
        while causes:
            for kind, key in self._waiting.pop(causes.pop(), {}):
                self._dirty[kind][key] = None
                if kind != "task":
                    causes.append((kind, key))
