"""The reaper: deletes tasks that are history.

Law: nothing that may still run is deleted, and a slot's last task stays while its service does, for it says whether the slot rests. Run by
``manager.leader``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from covey.objects import Cluster, ClusterSpec, Node, Object, Service, Task
from covey.states import ServiceMode, TaskState
from manager.loop import KeyedPlanner, Plan, Step
from manager.orchestrator.slots import age, ended, wanted
from manager.store.view import View

SlotKey = tuple[str, int]


def plan_slot(view: View, service_id: str, slot: int) -> Plan:
    """What of a slot's history is to go; slot 0 of a global service stands for the slots of all its nodes."""
    cluster = next(iter(view.clusters), None)
    keep = (cluster.spec if cluster is not None else ClusterSpec()).task_history
    by_place: dict[str, list[Task]] = {}
    service = view.services.get(service_id)
    everywhere = service is not None and service.spec.mode is ServiceMode.GLOBAL
    for task in view.tasks.by_slot(service_id, slot):
        by_place.setdefault(task.node_id if everywhere else "", []).append(task)
    gone = [
        task for place, tasks in by_place.items() for task in reap(tasks, keep, lasting=_lasting(view, service, place))
    ]
    return Plan(tuple([Step(removes=(task,)) for task in gone]))


def reap(tasks: Sequence[Task], keep: int, *, lasting: bool) -> list[Task]:
    """The tasks of one place to delete: what is to be removed or never had a node, then the oldest beyond ``keep``."""
    gone, history = [], []
    ordered = sorted(tasks, key=age)
    for task in ordered:
        if not ended(task):
            continue
        never_ran = not task.status.state.terminal
        if task.desired_state >= TaskState.REMOVE or never_ran or not lasting:
            gone.append(task)
        elif not wanted(task) and task is not ordered[-1]:
            history.append(task)
    surplus = len(ordered) - len(gone) - keep
    return gone + history[: max(0, surplus)]


def _lasting(view: View, service: Service | None, place: str) -> bool:
    """Whether the place itself still exists."""
    return service is not None and (not place or view.nodes.get(place) is not None)


class ReaperPlanner(KeyedPlanner[SlotKey]):
    """Keyed by service and slot."""

    def __init__(self) -> None:
        super().__init__()
        self._everything = False

    def all_keys(self, view: View) -> Iterable[SlotKey]:
        return dict.fromkeys((task.service_id, task.slot) for task in view.tasks)

    def keys_of(self, before: Object | None, after: Object | None) -> Iterable[SlotKey]:
        item = after if after is not None else before
        if isinstance(item, Cluster) and (not isinstance(before, Cluster) or before.spec != item.spec):
            self._everything = True
        if isinstance(item, Service | Node) and after is None:
            self._everything = True
        if isinstance(item, Task) and (before is None or ended(item) or not wanted(item)):
            return ((item.service_id, item.slot),)
        return ()

    def plan(self, view: View, now_ns: int) -> Plan:
        if self._everything:
            self._everything = False
            self.reset(view)
        return super().plan(view, now_ns)

    def plan_key(self, view: View, key: SlotKey, now_ns: int) -> Plan:  # noqa: ARG002 - history is counted, not timed
        return plan_slot(view, *key)
