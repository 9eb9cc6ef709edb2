"""Single changes that would place waiting tasks: proposed by the filters, tried with the scheduler's planner. Pure.

Invariant: a suggestion, applied to the cluster as it is, places at least one of the tasks, also if others wait for the same room.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from covey.explanation import Suggestion
from covey.objects import Object, Task, replace
from covey.states import TaskState
from manager.scheduler.filter import Change, Filter, WaitingTask, node_name
from manager.scheduler.filters import all_refusals
from manager.scheduler.node_load import NodeLoad
from manager.scheduler.planner import SchedulerPlanner
from manager.store.hypothetical import with_changes
from manager.store.view import View

MAX_TRIED = 6
"""Changes of one filter that are tried: each costs a pass of the scheduler."""
MAX_SHOWN = 3
_NEAREST = 3


def suggestions(
    waiting: WaitingTask, group: Sequence[Task], loads: Sequence[NodeLoad], now_ns: int
) -> list[Suggestion]:
    """The changes that place at least one task of the group of equal tasks, those that place most first."""
    found = []
    for candidate, nodes in _sole_refusals(waiting, loads).items():
        tried = islice(_distinct(candidate.changes(waiting, nodes)), MAX_TRIED)
        places = [(change, placed_by(change, group, waiting.view, now_ns)) for change in tried]
        useful = sorted([item for item in places if item[1]], key=lambda item: -item[1])
        found += useful[:MAX_SHOWN]
    found.sort(key=lambda item: -item[1])
    return [Suggestion(text=change.text, command=change.command, places=number) for change, number in found]


def placed_by(change: Change, group: Sequence[Task], view: View, now_ns: int) -> int:
    """How many tasks of the group the scheduler places after the change."""
    after = changed_view(change, group, view, now_ns)
    planner = SchedulerPlanner()
    planner.reset(after)
    ids = {task.id for task in group}
    placed = (item for step in planner.plan(after, now_ns).steps for item in step.updates if item.id in ids)
    return sum(isinstance(item, Task) and item.status.state is TaskState.ASSIGNED for item in placed)


def changed_view(change: Change, group: Sequence[Task], view: View, now_ns: int) -> View:
    """The cluster after the change; one of the task is made to the whole group."""
    items: list[Object] = []
    if change.node is not None:
        items.append(change.node)
    if change.task is not None:
        items += [replace(task, spec=change.task.spec) for task in group]
    ended = [task for key in change.ended if (task := view.tasks.get(key)) is not None]
    return with_changes(view, items, now_ns, removed=ended)


def nearest_nodes(waiting: WaitingTask, loads: Sequence[NodeLoad]) -> list[str]:
    """What the nodes lack that the fewest filters refuse: ``n1: resources (needs 2GiB memory (most free 1GiB)), constraints (…)``."""
    refused = [(all_refusals(waiting.request, load), load) for load in loads if load.node is not None]
    refused.sort(key=lambda item: len(item[0]))
    return [_lacks(waiting, filters, load) for filters, load in refused[:_NEAREST] if filters]


def _lacks(waiting: WaitingTask, filters: Sequence[Filter], load: NodeLoad) -> str:
    parts = []
    for each in filters:
        detail = each.detail(waiting.request, (load,))
        parts.append(f"{each.name} ({detail})" if detail else each.name)
    return f"{node_name(load.node) if load.node is not None else ''}: {', '.join(parts)}"


def _sole_refusals(waiting: WaitingTask, loads: Iterable[NodeLoad]) -> dict[Filter, list[NodeLoad]]:
    """The nodes that a single filter refuses, by filter."""
    found: dict[Filter, list[NodeLoad]] = {}
    for load in loads:
        refusing = all_refusals(waiting.request, load)
        if len(refusing) == 1:
            found.setdefault(refusing[0], []).append(load)
    return found


def _distinct(changes: Iterable[Change]) -> Iterator[Change]:
    seen: set[str] = set()
    for change in changes:
        if change.text not in seen:
            seen.add(change.text)
            yield change
