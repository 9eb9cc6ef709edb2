"""Replicated services: exactly ``replicas`` slots.

Invariant: a slot keeps its number. Scaling down removes the least useful slots first. Pure; called by the service planner.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from covey.objects import Task, replace
from covey.states import TaskState
from manager.loop import Step
from manager.orchestrator.slot_reconciler import is_finished, new_task_for_slot
from manager.orchestrator.slots import ServiceContext, Slot, SlotKey, with_shutdown


class ScaleDecision(msgspec.Struct, frozen=True):
    """``remaining`` are the slots that stay; ``steps`` create missing slots and remove surplus ones."""

    remaining: tuple[Slot, ...]
    steps: tuple[Step, ...]


def scale_replicated(context: ServiceContext, slots: Mapping[SlotKey, Slot]) -> ScaleDecision:
    """Fills the lowest free slots, or removes the least useful ones, until ``replicas`` slots are filled."""
    filled = [slot for slot in slots.values() if slot.active or is_finished(context, slot)]
    replicas = context.service.spec.replicas
    if len(filled) > replicas:
        removed = _least_useful(filled, len(filled) - replicas)
        remaining = [slot for slot in filled if slot.key not in removed]
        return ScaleDecision(tuple(remaining), tuple([remove_slot(slot) for slot in filled if slot.key in removed]))
    creates = []
    taken = {slot.key for slot in filled}
    number = 0
    for _ in range(replicas - len(filled)):
        number += 1
        while number in taken:
            number += 1
        task = new_task_for_slot(context, slots.get(number, Slot(number)))
        creates.append(Step(creates=(task,), preconditions=(context.service,)))
    return ScaleDecision(tuple(filled), tuple(creates))


def stop_all(slots: Mapping[SlotKey, Slot]) -> ScaleDecision:
    """Ends all tasks of a stopped service, which keeps its number of replicas."""
    active = [slot.active for slot in slots.values() if slot.active]
    return ScaleDecision((), tuple([Step(updates=tuple([with_shutdown(task) for task in tasks])) for tasks in active]))


def remove_slot(slot: Slot) -> Step:
    """Ends all tasks of a slot and has them deleted."""
    return Step(updates=with_removal(slot.tasks))


def with_removal(tasks: Collection[Task]) -> tuple[Task, ...]:
    """The tasks whose desired state is not REMOVE yet, with that desired state."""
    changed = [task for task in tasks if task.desired_state < TaskState.REMOVE]
    return tuple([replace(task, desired_state=TaskState.REMOVE) for task in changed])


def _least_useful(slots: list[Slot], count: int) -> set[SlotKey]:
    """Slots without a running task first, then the newest on the node that runs most of the service."""
    chosen: set[SlotKey] = set()
    rest = sorted(slots, key=lambda slot: (_running_task(slot) is not None, -_slot_number(slot)))
    for slot in rest[:count]:
        if _running_task(slot) is None:
            chosen.add(slot.key)
    by_node: dict[str, list[Slot]] = {}
    for slot in sorted(slots, key=_start_order):
        best = _running_task(slot)
        if best is not None:
            by_node.setdefault(best.node_id, []).append(slot)
    while len(chosen) < count:
        fullest = max(by_node, key=lambda node_id: (len(by_node[node_id]), _start_order(by_node[node_id][-1])))
        chosen.add(by_node[fullest].pop().key)
        if not by_node[fullest]:
            del by_node[fullest]
    return chosen


def _running_task(slot: Slot) -> Task | None:
    """The running task of the slot."""
    return next((task for task in slot.active if task.status.state is TaskState.RUNNING), None)


def _slot_number(slot: Slot) -> int:
    return slot.key if isinstance(slot.key, int) else 0


def _start_order(slot: Slot) -> tuple[int, int]:
    best = _running_task(slot)
    return (best.meta.created_at_ns if best else 0, _slot_number(slot))
