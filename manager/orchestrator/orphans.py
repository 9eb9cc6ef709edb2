"""Orphaned tasks: marks tasks ORPHANED whose node will never report that they ended.

Invariant: a task is orphaned only after it was told to end (so its replacement was requested), or if it is a network attachment, and
its node is gone or has been DOWN for ``ORPHAN_AFTER_NS``. Until then it holds its addresses, because its container may still answer to
them. Run by ``manager.leader``.
"""

from __future__ import annotations

from collections.abc import Iterable

from covey.clock import SECOND
from covey.objects import Node, Object, Task, replace
from covey.states import NodeState, TaskState
from covey.task_predicates import has_ended, is_attachment, should_run
from manager.loop import EMPTY, KeyedPlanner, Plan, Step
from manager.store.view import View

ORPHAN_AFTER_NS = 60 * SECOND


def plan_node(view: View, node_id: str, now_ns: int) -> Plan:
    """Marks the tasks of one node ORPHANED that are due, or says when they will be."""
    node = view.nodes.get(node_id)
    if node is not None and node.status.state is not NodeState.DOWN:
        return EMPTY
    ending = [task for task in view.tasks.by_node(node_id) if _ends_with_node(task) and not has_ended(task)]
    if not ending:
        return EMPTY
    if node is not None:
        due_ns = (node.status.changed_at_ns or node.meta.updated_at_ns) + ORPHAN_AFTER_NS
        if due_ns > now_ns:
            return Plan((), due_ns)
    reason = "its node is gone" if node is None else "its node has been down for too long"
    return Plan(tuple([Step(updates=(mark_orphaned(task, now_ns, reason),)) for task in ending]))


def _ends_with_node(task: Task) -> bool:
    """Whether the task will not be told to end by an orchestrator, or was told already."""
    return not should_run(task) or is_attachment(task)


def mark_orphaned(task: Task, now_ns: int, reason: str) -> Task:
    """The task in state ORPHANED; ``reason`` becomes its error."""
    status = replace(task.status, state=TaskState.ORPHANED, timestamp_ns=now_ns, message="orphaned", error=reason)
    return replace(task, status=status)


class OrphanPlanner(KeyedPlanner[str]):
    """Planner of orphaned tasks, keyed by node id."""

    def all_keys(self, view: View) -> Iterable[str]:
        ids = dict.fromkeys(node.id for node in view.nodes)
        return ids | dict.fromkeys(task.node_id for task in view.tasks if task.node_id)

    def keys_of(self, before: Object | None, after: Object | None) -> Iterable[str]:
        item = after if after is not None else before
        if isinstance(item, Node):
            return (item.id,)
        if isinstance(item, Task) and item.node_id and _ends_with_node(item):
            return (item.node_id,)
        return ()

    def plan_key(self, view: View, key: str, now_ns: int) -> Plan:
        return plan_node(view, key, now_ns)
