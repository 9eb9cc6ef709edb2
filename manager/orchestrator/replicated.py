"""Replicated services: exactly ``replicas`` slots, whatever happens.

Law: a slot keeps its number; what is taken away is what does the least. Pure; called by the planner of services.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from covey.objects import Task, replace
from covey.states import TaskState
from manager.loop import Step
from manager.orchestrator.slots import Context, Key, Slot
from manager.orchestrator.upkeep import fill, spent


class Scale(msgspec.Struct, frozen=True):
    """``keep`` are the slots that stay, ``steps`` create those that miss and remove those that are too many."""

    keep: tuple[Slot, ...]
    steps: tuple[Step, ...]


def scale(context: Context, slots: Mapping[Key, Slot]) -> Scale:
    filled = [slot for slot in slots.values() if slot.active or spent(context, slot)]
    wished = context.service.spec.replicas
    if len(filled) > wished:
        leaving = _least_useful(filled, len(filled) - wished)
        kept = [slot for slot in filled if slot.key not in leaving]
        return Scale(tuple(kept), tuple([remove(slot) for slot in filled if slot.key in leaving]))
    creates = []
    taken = {slot.key for slot in filled}
    number = 0
    for _ in range(wished - len(filled)):
        number += 1
        while number in taken:
            number += 1
        task = fill(context, slots.get(number, Slot(number)))
        creates.append(Step(creates=(task,), needs=(context.service,)))
    return Scale(tuple(filled), tuple(creates))


def remove(slot: Slot) -> Step:
    """Ends and forgets all of a slot's tasks."""
    return Step(updates=to_remove(slot.tasks))


def to_remove(tasks: Collection[Task]) -> tuple[Task, ...]:
    changed = [task for task in tasks if task.desired_state < TaskState.REMOVE]
    return tuple([replace(task, desired_state=TaskState.REMOVE) for task in changed])


def _least_useful(slots: list[Slot], count: int) -> set[Key]:
    """Slots that do not run first, then the newest on the node that holds most of the service."""
    chosen: set[Key] = set()
    rest = sorted(slots, key=lambda slot: (_best(slot) is not None, -_number(slot)))
    for slot in rest[:count]:
        if _best(slot) is None:
            chosen.add(slot.key)
    by_node: dict[str, list[Slot]] = {}
    for slot in sorted(slots, key=_started):
        best = _best(slot)
        if best is not None:
            by_node.setdefault(best.node_id, []).append(slot)
    while len(chosen) < count:
        fullest = max(by_node, key=lambda node_id: (len(by_node[node_id]), _started(by_node[node_id][-1])))
        chosen.add(by_node[fullest].pop().key)
        if not by_node[fullest]:
            del by_node[fullest]
    return chosen


def _best(slot: Slot) -> Task | None:
    """The task that runs in the slot."""
    return next((task for task in slot.active if task.status.state is TaskState.RUNNING), None)


def _number(slot: Slot) -> int:
    return slot.key if isinstance(slot.key, int) else 0


def _started(slot: Slot) -> tuple[int, int]:
    best = _best(slot)
    return (best.meta.created_at_ns if best else 0, _number(slot))
