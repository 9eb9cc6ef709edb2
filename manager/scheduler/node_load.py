"""Index of node load: reserved resources, host ports, task counts and recent failures of each node.

Invariant: ``sync_nodes`` and ``sync_tasks`` make the index equal to the view for the given objects, so an index that followed every
change equals one built from the view. A task counts on its node until it has ended. Makes no decision.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from covey.objects import Node, Resources, Task
from covey.states import TaskState
from covey.task_predicates import has_ended, priority_of, should_run
from manager import service_ports
from manager.scheduler.domains import Domains
from manager.scheduler.generic_resources import claim, held, wants_any
from manager.service_ports import HostPort
from manager.store.view import View


class TaskUsage(msgspec.Struct, frozen=True):
    """Resources of its node that one task uses; ``reserved`` has the generic ones that it holds. With ``failed_at_ns`` set, the task ended
    in failure and uses nothing.
    """

    node_id: str
    service_id: str
    reserved: Resources
    ports: tuple[HostPort, ...]
    active: bool
    failed_at_ns: int = 0
    priority: int = 0


class NodeLoad:
    """Load of one node. ``active_*`` count tasks that should run; ``failures_by_service`` holds times by service and task."""

    __slots__ = (
        "active_by_service",
        "active_tasks",
        "domains",
        "failures_by_service",
        "generic",
        "memory_bytes",
        "named_generic",
        "nano_cpus",
        "node",
        "ports",
        "recorded_tasks",
    )

    def __init__(self, domains: Domains | None = None) -> None:
        self.domains = Domains({}) if domains is None else domains
        self.node: Node | None = None
        self.recorded_tasks = 0
        self.active_tasks = 0
        self.active_by_service: dict[str, int] = {}
        self.nano_cpus = 0
        self.memory_bytes = 0
        self.generic: dict[str, int] = {}
        self.named_generic: dict[str, int] = {}
        self.ports: dict[HostPort, int] = {}
        self.failures_by_service: dict[str, dict[str, int]] = {}

    def add(self, task_id: str, usage: TaskUsage, sign: int) -> None:
        """Adds (``sign`` 1) or removes (-1) the usage of a task."""
        self.recorded_tasks += sign
        if usage.failed_at_ns:
            self._record_failure(task_id, usage, sign)
            return
        reserved = usage.reserved
        self.nano_cpus += sign * reserved.nano_cpus
        self.memory_bytes += sign * reserved.memory_bytes
        for name, number in reserved.generic.items():
            _add_to_count(self.generic, name, sign * number)
        for name in reserved.named_generic:
            _add_to_count(self.named_generic, name, sign)
        for port in usage.ports:
            _add_to_count(self.ports, port, sign)
        if usage.active:
            self.active_tasks += sign
            _add_to_count(self.active_by_service, usage.service_id, sign)

    def copy(self) -> NodeLoad:
        """A load that can be changed without this one. What is counted over several nodes stays the same."""
        other = NodeLoad(self.domains)
        other.node, other.recorded_tasks, other.active_tasks = self.node, self.recorded_tasks, self.active_tasks
        other.nano_cpus, other.memory_bytes = self.nano_cpus, self.memory_bytes
        other.generic, other.named_generic = dict(self.generic), dict(self.named_generic)
        other.active_by_service, other.ports = dict(self.active_by_service), dict(self.ports)
        other.failures_by_service = {key: dict(times) for key, times in self.failures_by_service.items()}
        return other

    def recent_failures(self, service_id: str, since_ns: int) -> int:
        """How many tasks of the service failed on the node since then."""
        return sum(1 for at_ns in self.failures_by_service.get(service_id, {}).values() if at_ns >= since_ns)

    def claim(self, wanted: Resources) -> Resources | None:
        """The generic resources that a task with this wish would get; None if the node has too few."""
        available = self.node.description.resources if self.node is not None else Resources()
        return claim(wanted, available, self.generic, self.named_generic)

    def _record_failure(self, task_id: str, usage: TaskUsage, sign: int) -> None:
        of_service = self.failures_by_service.setdefault(usage.service_id, {})
        if sign > 0:
            of_service[task_id] = usage.failed_at_ns
        else:
            of_service.pop(task_id, None)
        if not of_service:
            del self.failures_by_service[usage.service_id]

    def as_tuple(self) -> tuple[object, ...]:
        """The whole load as a value that tests compare."""
        return (
            self.node and self.node.id,
            self.recorded_tasks,
            self.active_tasks,
            self.active_by_service,
            (self.nano_cpus, self.memory_bytes, self.generic, self.named_generic),
            self.ports,
            self.failures_by_service,
        )


class NodeLoadIndex:
    """Load of all nodes. ``capacity_freed`` says that a task that waits may now be placed, ``tasks_arrived`` that one may that waits
    to be near others.
    """

    def __init__(self) -> None:
        self.loads: dict[str, NodeLoad] = {}
        self.domains = Domains(self.loads)
        self.capacity_freed = False
        self.tasks_arrived = False
        self._usages: dict[str, TaskUsage] = {}
        self._priorities: dict[int, int] = {}

    @classmethod
    def from_view(cls, view: View) -> NodeLoadIndex:
        """An index built from the view alone."""
        index = cls()
        index.sync_services(view, [service.id for service in view.services])
        index.sync_nodes(view, [node.id for node in view.nodes])
        index.sync_tasks(view, [task.id for task in view.tasks])
        return index

    def sync_services(self, view: View, ids: Iterable[str]) -> None:
        changed = self.domains.sync_services(view, ids)
        self.capacity_freed = self.capacity_freed or changed

    def sync_nodes(self, view: View, ids: Iterable[str]) -> None:
        for node_id in ids:
            node = view.nodes.get(node_id)
            load = self.loads.get(node_id)
            if node is not None:
                load = self.loads.setdefault(node_id, NodeLoad(self.domains))
                if load.node is None or _may_change_filters(load.node, node):
                    self.capacity_freed = True
                    self.domains.forget_counts()
                load.node = node
            elif load is not None:
                load.node = None
                self.domains.forget_counts()
                self._drop_if_empty(node_id, load)

    def sync_tasks(self, view: View, ids: Iterable[str]) -> None:
        for task_id in ids:
            task = view.tasks.get(task_id)
            before, now = self._usages.get(task_id), usage_of(task) if task is not None else None
            if before == now:
                continue
            if before is not None:
                self._remove(task_id, before)
                self.capacity_freed = True
            if now is not None:
                self._add(task_id, now)

    def usage(self, task_id: str) -> TaskUsage | None:
        """What the task uses, as the index knows it."""
        return self._usages.get(task_id)

    def has_lower_priority(self, priority: int) -> bool:
        """Whether a task that has not ended has a lower priority."""
        return any(other < priority for other in self._priorities)

    def assume(self, task_id: str, usage: TaskUsage) -> None:
        """Counts a task as placed before the placement is committed. The next ``sync_tasks`` corrects it if the commit was refused."""
        self._add(task_id, usage)

    def withdraw(self, task_id: str) -> None:
        """Takes back what was assumed of a task, without a change of the view."""
        usage = self._usages.get(task_id)
        if usage is not None:
            self._remove(task_id, usage)

    def existing_nodes(self) -> list[NodeLoad]:
        """The nodes that exist, ordered by id."""
        return [self.loads[key] for key in sorted(self.loads) if self.loads[key].node is not None]

    def _add(self, task_id: str, usage: TaskUsage) -> None:
        load = self.loads.setdefault(usage.node_id, NodeLoad(self.domains))
        load.add(task_id, usage, 1)
        self._usages[task_id] = usage
        self._count_priority(usage, 1)
        if usage.active:
            self.domains.record(load.node, usage.service_id, 1)
            self.tasks_arrived = True

    def _remove(self, task_id: str, usage: TaskUsage) -> None:
        load = self.loads[usage.node_id]
        load.add(task_id, usage, -1)
        del self._usages[task_id]
        self._count_priority(usage, -1)
        if usage.active:
            self.domains.record(load.node, usage.service_id, -1)
        self._drop_if_empty(usage.node_id, load)

    def _count_priority(self, usage: TaskUsage, sign: int) -> None:
        if not usage.failed_at_ns:
            number = self._priorities.get(usage.priority, 0) + sign
            if number:
                self._priorities[usage.priority] = number
            else:
                self._priorities.pop(usage.priority, None)

    def _drop_if_empty(self, node_id: str, load: NodeLoad) -> None:
        """Forgets a removed node once its last task is gone, including tasks that use nothing because they are to end."""
        if load.node is None and not load.recorded_tasks:
            self.loads.pop(node_id, None)


def usage_of(task: Task) -> TaskUsage | None:
    """What a task uses on its node; None if nothing. A global task that is not placed yet uses nothing."""
    if not task.node_id or task.status.state < TaskState.ASSIGNED:
        return None
    no_resources = Resources()
    if has_ended(task):
        if task.end_reason or task.status.state not in {TaskState.FAILED, TaskState.REJECTED}:
            return None
        return TaskUsage(
            task.node_id, task.service_id, no_resources, (), active=False, failed_at_ns=task.status.timestamp_ns or 1
        )
    reserved = held(reservation(task) or no_resources, task.generic_resources)
    return TaskUsage(
        task.node_id, task.service_id, reserved, host_ports(task), active=should_run(task), priority=priority_of(task)
    )


def usage_on(
    load: NodeLoad, service_id: str, wanted: Resources, ports: tuple[HostPort, ...], priority: int = 0
) -> TaskUsage:
    """What one more task with these wishes uses of a node that can take it."""
    reserved = held(wanted, load.claim(wanted)) if wants_any(wanted) else wanted
    return TaskUsage(
        load.node.id if load.node is not None else "", service_id, reserved, ports, active=True, priority=priority
    )


def reservation(task: Task) -> Resources | None:
    """The resources that the task reserves."""
    return task.spec.resources.reservations if task.spec.resources else None


def host_ports(task: Task) -> tuple[HostPort, ...]:
    """The host-mode ports that the task publishes on its node."""
    return service_ports.host_ports(task.endpoint.ports) if task.endpoint else ()


def _may_change_filters(before: Node, after: Node) -> bool:
    """Whether the change may alter the answer of a filter."""
    same = before.spec == after.spec and before.description == after.description and before.role == after.role
    return not same or before.status != after.status


def _add_to_count(counts: dict[HostPort, int] | dict[str, int], key: HostPort | str, by: int) -> None:
    table: dict[HostPort | str, int] = counts  # type: ignore[assignment]
    number = table.get(key, 0) + by
    if number:
        table[key] = number
    else:
        table.pop(key, None)
