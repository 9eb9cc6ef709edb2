"""Explains tasks that no node can take: how many nodes each filter refused, and which single change helps. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from covey.errors import InvalidArgumentError
from covey.explanation import MAX_NAMES, FilterRefusal, WaitingTasks
from covey.objects import Task
from manager.explain.suggestions import nearest_nodes, suggestions
from manager.scheduler.filter import WaitingTask, node_name
from manager.scheduler.filters import NO_NODE, Refusal, explain, refusals
from manager.scheduler.node_load import NodeLoad, NodeLoadIndex
from manager.scheduler.request import PlacementRequest
from manager.store.view import View

MAX_WITH_CHANGES = 5
"""Groups of tasks for which changes are tried: a global service has a group on each node."""


def explain_placement(view: View, index: NodeLoadIndex, tasks: Sequence[Task], now_ns: int) -> list[WaitingTasks]:
    """What tasks wait for that have all but a node, one item for equal tasks. A task that a node could take waits for its turn."""
    groups: dict[tuple[str, int], list[Task]] = {}
    requests: list[PlacementRequest] = []
    result = []
    for task in tasks:
        try:
            request = PlacementRequest.for_task(task, view.networks)
        except InvalidArgumentError as error:
            result.append(waiting_tasks("placement", [task], error.message))
            continue
        if request not in requests:
            requests.append(request)
        groups.setdefault((task.node_id, requests.index(request)), []).append(task)
    for (node_id, number), members in groups.items():
        load = index.loads.get(node_id)
        loads = index.existing_nodes() if not node_id else [load] if load is not None else []
        waiting = WaitingTask(members[0], requests[number], view)
        result.append(_explain_group(waiting, members, loads, now_ns, with_changes=len(result) < MAX_WITH_CHANGES))
    return result


def _explain_group(
    waiting: WaitingTask, members: Sequence[Task], loads: Sequence[NodeLoad], now_ns: int, *, with_changes: bool
) -> WaitingTasks:
    told = waiting.task.status.error
    if told and not told.startswith(NO_NODE):
        return waiting_tasks("placement", members, told)  # such as for tasks that end for it
    refused = refusals(waiting.request, loads)
    if sum(len(item.nodes) for item in refused) < len(loads):
        return waiting_tasks("placement", members, "a node can take the task; the scheduler has not placed it yet")
    found = suggestions(waiting, members, loads, now_ns) if with_changes else []
    return WaitingTasks(
        cause="placement",
        count=len(members),
        tasks=task_names(members),
        reason=explain(waiting.request, loads),
        refusals=tuple(map(filter_refusal, refused)),
        suggestions=tuple(found),
        near=() if found else tuple(nearest_nodes(waiting, loads)),
    )


def filter_refusal(refusal: Refusal) -> FilterRefusal:
    names = sorted([node_name(load.node) for load in refusal.nodes if load.node is not None])
    return FilterRefusal(
        filter=refusal.filter.name,
        count=len(refusal.nodes),
        sentence=refusal.sentence,
        detail=refusal.detail,
        nodes=tuple(names[:MAX_NAMES]),
    )


def waiting_tasks(cause: str, tasks: Sequence[Task], reason: str) -> WaitingTasks:
    return WaitingTasks(cause=cause, count=len(tasks), tasks=task_names(tasks), reason=reason)


def task_names(tasks: Sequence[Task]) -> tuple[str, ...]:
    """``SERVICE.SLOT`` as ``service ps`` shows tasks, of a global service ``SERVICE.NODE``."""
    named = [f"{task.service_annotations.name}.{task.slot or task.node_id}" for task in tasks]
    return tuple(named[:MAX_NAMES])
