"""What must hold after every commit of a simulated cluster, checked for what the commit changed.

- The state and the desired state of a task only go up, and a task never changes its node or its slot.
- No node has more active tasks of a service than `max_replicas` when it is given one, and none has more reserved than it has.
- An update takes no more slots out of service at a time than its parallelism; with start-first it takes none out.

Counters of its own: nothing here reads what the planners keep.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from covey.objects import Node, Service, Task
from covey.states import NodeAvailability, NodeState, ServiceMode, TaskState, UpdateOrder, UpdateState
from covey.task_predicates import should_run
from manager.store.commit import Change, Commit
from manager.store.view import View

Slot = tuple[str, int]
_ROLLBACK = (UpdateState.ROLLBACK_STARTED, UpdateState.ROLLBACK_PAUSED)


class OrchestrationInvariants:
    """Follows the commits and raises AssertionError at the first violation."""

    def __init__(self) -> None:
        self.placements = 0
        self._cpus: Counter[str] = Counter()
        self._memory: Counter[str] = Counter()
        self._active: Counter[tuple[str, str]] = Counter()
        self._out_of_service: defaultdict[str, set[int]] = defaultdict(set)

    def watch(self, view: View, commit: Commit) -> None:
        """Takes one commit; ``view`` is the state after it."""
        tasks = [change for change in commit.changes if isinstance(change.item, Task)]
        for change in tasks:
            self._count(change.before, -1)
            self._count(change.after, 1)
        for change in tasks:
            self._check_states(change)
            self._check_placement(view, change)
        taken_out = {self._follow_slot(view, change) for change in tasks}
        for service_id in taken_out - {""}:
            self._check_update(view, service_id)

    def _count(self, task: object, sign: int) -> None:
        if (
            not isinstance(task, Task)
            or not task.node_id
            or not TaskState.ASSIGNED <= task.status.state <= TaskState.RUNNING
        ):
            return
        reserved = task.spec.resources.reservations if task.spec.resources else None
        if reserved is not None:
            self._cpus[task.node_id] += sign * reserved.nano_cpus
            self._memory[task.node_id] += sign * reserved.memory_bytes
        if should_run(task):
            self._active[task.node_id, task.service_id] += sign

    def _check_states(self, change: Change) -> None:
        before, after = change.before, change.after
        if not isinstance(before, Task) or not isinstance(after, Task):
            return
        assert after.status.state >= before.status.state, f"the state of task {after.id} went down"
        assert after.desired_state >= before.desired_state, f"the desired state of task {after.id} went down"
        assert before.node_id in ("", after.node_id), f"task {after.id} moved from {before.node_id} to {after.node_id}"
        assert before.slot == after.slot, f"task {after.id} changed its slot"

    def _check_placement(self, view: View, change: Change) -> None:
        before, task = change.before, change.after
        was_placed = isinstance(before, Task) and before.status.state >= TaskState.ASSIGNED
        if not isinstance(task, Task) or task.status.state is not TaskState.ASSIGNED or was_placed:
            return
        self.placements += 1
        node = view.nodes.get(task.node_id)
        assert node is not None, f"task {task.id} was placed on {task.node_id}, which does not exist"
        ready = node.status.state is NodeState.READY and node.spec.availability is NodeAvailability.ACTIVE
        assert ready, f"task {task.id} was placed on {node.id}, which is not available"
        limit = task.spec.placement.max_replicas if task.spec.placement else 0
        number = self._active[node.id, task.service_id]
        assert not limit or number <= limit, f"{number} tasks of {task.service_id} on {node.id}, the limit is {limit}"
        self._check_reservations(node)

    def _check_reservations(self, node: Node) -> None:
        has = node.description.resources
        cpus, memory = self._cpus[node.id], self._memory[node.id]
        assert cpus <= has.nano_cpus, f"{cpus / 1e9:g} CPUs of {node.id} are reserved, it has {has.nano_cpus / 1e9:g}"
        assert memory <= has.memory_bytes, f"{memory} bytes of {node.id} are reserved, it has {has.memory_bytes}"

    def _follow_slot(self, view: View, change: Change) -> str:
        """A slot is out of service from the moment a running task on a usable node is told to end without another that runs.

        Returns the id of the service if one of its slots was taken out.
        """
        before, task = change.before, change.after
        if not isinstance(task, Task):
            return ""
        out = self._out_of_service[task.service_id]
        if _serves(task):
            out.discard(task.slot)
        elif (
            isinstance(before, Task)
            and _serves(before)
            and not should_run(task)
            and task.status.state is TaskState.RUNNING
        ):
            service, node = view.services.get(task.service_id), view.nodes.get(task.node_id)
            others = view.tasks.by_slot(task.service_id, task.slot)
            if _chosen_by_update(service, node, task) and not any(_serves(other) for other in others):
                out.add(task.slot)
                return task.service_id
        return ""

    def _check_update(self, view: View, service_id: str) -> None:
        service = view.services.get(service_id)
        out = self._out_of_service[service_id]
        if service is None:
            out.clear()
            return
        out -= {slot for slot in out if not any(should_run(task) for task in view.tasks.by_slot(service_id, slot))}
        status = service.update_status
        rolling_back = status is not None and status.state in _ROLLBACK
        config = service.spec.rollback if rolling_back else service.spec.update
        if config is None:
            return
        allowed = 0 if config.order is UpdateOrder.START_FIRST else config.parallelism or service.spec.replicas
        assert len(out) <= allowed, (
            f"slots {sorted(out)} of {service_id} are out of service, its update may take {allowed}"
        )


def _serves(task: Task) -> bool:
    return task.status.state is TaskState.RUNNING and should_run(task)


def _was_told_to_stop(task: Task) -> bool:
    """Whether a running task is to end and its slot stays; what is scaled away is to be removed."""
    return task.status.state is TaskState.RUNNING and task.desired_state is TaskState.SHUTDOWN


def _chosen_by_update(service: Service | None, node: Node | None, task: Task) -> bool:
    """Whether only an update can be the reason to end this task: no loss of its node, no drain, no scaling."""
    if service is None or node is None or service.spec.mode is not ServiceMode.REPLICATED:
        return False
    usable = node.status.state is not NodeState.DOWN and node.spec.availability is not NodeAvailability.DRAIN
    return usable and not task.end_reason
