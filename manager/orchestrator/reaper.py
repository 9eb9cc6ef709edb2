"""Task reaper: deletes old tasks beyond the task history limit.

Invariant: no task that may still run is deleted. The last task of a slot stays while its service exists, because it says whether the
slot is finished. Run by ``manager.leader``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from covey.cluster_settings import MAX_TASK_HISTORY
from covey.objects import Cluster, ClusterSpec, Node, Object, Service, Task
from covey.states import TaskState
from covey.task_predicates import creation_order, has_ended, should_run
from manager.job_runs import is_in_present_run
from manager.loop import KeyedPlanner, Plan, Step
from manager.store.view import View

ServiceSlot = tuple[str, int]


def plan_slot(view: View, service_id: str, slot: int) -> Plan:
    """Deletes the surplus history of a slot. Slot 0 of a global service stands for the slots of all its nodes."""
    cluster = next(iter(view.clusters), None)
    history_limit = (cluster.spec if cluster is not None else ClusterSpec()).task_history
    by_node: dict[str, list[Task]] = {}
    service = view.services.get(service_id)
    is_global = service is not None and service.spec.mode.is_global
    for task in view.tasks.by_slot(service_id, slot):
        by_node.setdefault(task.node_id if is_global else "", []).append(task)
    deleted = [
        task
        for node_id, tasks in by_node.items()
        for task in tasks_to_delete(tasks, history_limit, service if _slot_exists(view, service, node_id) else None)
    ]
    return Plan(tuple([Step(removes=(task,)) for task in deleted]))


def tasks_to_delete(tasks: Sequence[Task], history_limit: int, service: Service | None) -> list[Task]:
    """The tasks of one slot to delete: those to be removed or that never had a node, then the oldest beyond ``history_limit``.

    ``service`` is None if the service or the slot does not exist any more.
    """
    deleted, history = [], []
    ordered = sorted(tasks, key=creation_order)
    for task in ordered:
        if not has_ended(task):
            continue
        never_ran = not task.status.state.terminal
        if task.desired_state >= TaskState.REMOVE or never_ran or service is None:
            deleted.append(task)
        elif _is_history(service, task) and task is not ordered[-1]:
            history.append(task)
    if service is not None and service.spec.schedule is not None:
        return deleted + _surplus_of_runs(history, history_limit, _oldest_run(service))
    surplus = len(ordered) - len(deleted) - max(history_limit, _allowed_attempts(service))
    return deleted + history[: max(0, surplus)]


def _oldest_run(service: Service) -> int:
    """The number of the oldest run of a job with a schedule whose tasks are kept. Runs that go on are among them."""
    present = service.job_status.iteration if service.job_status is not None else 0
    schedule, status = service.spec.schedule, service.schedule_status
    kept = present - (schedule.history if schedule is not None else 0)
    return min([kept, *[run.iteration for run in (status.earlier if status is not None else ())]])


def _surplus_of_runs(history: Sequence[Task], history_limit: int, oldest_run: int) -> list[Task]:
    """The tasks of runs that are not kept, and of each kept run the oldest beyond ``history_limit``."""
    surplus: list[Task] = []
    by_run: dict[int, list[Task]] = {}
    for task in history:
        run = -1 if task.job_iteration is None else task.job_iteration
        if run < oldest_run:
            surplus.append(task)
        else:
            by_run.setdefault(run, []).append(task)
    for tasks in by_run.values():
        surplus += tasks[: max(0, len(tasks) - max(history_limit, 1))]
    return surplus


def _allowed_attempts(service: Service | None) -> int:
    """How many tasks a slot may have by its restart policy, 0 without a limit. As in Swarm all of them are kept, to show what was tried."""
    restart = service.spec.task.restart if service is not None else None
    return min(restart.max_attempts + 1, MAX_TASK_HISTORY) if restart is not None and restart.max_attempts else 0


def _is_history(service: Service, task: Task) -> bool:
    """Whether an ended task only tells what was. What has completed in a run of a job that goes on counts as done and stays."""
    if service.spec.mode.is_job:
        going = service.schedule_status.earlier if service.schedule_status is not None else ()
        counts = is_in_present_run(service, task) or any(run.iteration == task.job_iteration for run in going)
        return not (counts and task.status.state is TaskState.COMPLETE)
    return not should_run(task)


def _slot_exists(view: View, service: Service | None, node_id: str) -> bool:
    """Whether the service exists, and the node of a global service's slot (empty for a replicated one)."""
    return service is not None and (not node_id or view.nodes.get(node_id) is not None)


class ReaperPlanner(KeyedPlanner[ServiceSlot]):
    """Planner of task deletion, keyed by service and slot."""

    def __init__(self) -> None:
        super().__init__()
        self._reset_needed = False

    def all_keys(self, view: View) -> Iterable[ServiceSlot]:
        return dict.fromkeys((task.service_id, task.slot) for task in view.tasks)

    def keys_of(self, before: Object | None, after: Object | None) -> Iterable[ServiceSlot]:
        item = after if after is not None else before
        if isinstance(item, Cluster) and (not isinstance(before, Cluster) or before.spec != item.spec):
            self._reset_needed = True
        if isinstance(item, Service | Node) and after is None:
            self._reset_needed = True
        if isinstance(item, Task) and (before is None or has_ended(item) or not should_run(item)):
            return ((item.service_id, item.slot),)
        return ()

    def plan(self, view: View, now_ns: int) -> Plan:
        if self._reset_needed:
            self._reset_needed = False
            self.reset(view)
        return super().plan(view, now_ns)

    def plan_key(self, view: View, key: ServiceSlot, now_ns: int) -> Plan:  # noqa: ARG002 - history is counted, not timed
        return plan_slot(view, *key)
