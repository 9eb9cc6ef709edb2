"""Global services: one task on every eligible node.

Invariant: the key of a slot is its node's id. A node that is down, drained or does not match the constraints has no task, and gets one
when it returns. Pure; called by the service planner.
"""

from __future__ import annotations

from collections.abc import Mapping

from covey.objects import Node
from covey.states import NodeAvailability, NodeState
from manager.loop import Step
from manager.orchestrator.replicated import ScaleDecision
from manager.orchestrator.slot_reconciler import is_finished, new_task_for_slot
from manager.orchestrator.slots import ServiceContext, Slot, SlotKey, fits_placement


def scale_global(context: ServiceContext, slots: Mapping[SlotKey, Slot]) -> ScaleDecision:
    """Creates a task on each eligible node that has none; tasks on other nodes are left to slot reconciliation."""
    remaining, steps = [], []
    for node in context.view.nodes:
        slot = slots.get(node.id, Slot(node.id))
        if slot.active or is_finished(context, slot):
            remaining.append(slot)
        elif is_eligible(context, node):
            steps.append(Step(creates=(new_task_for_slot(context, slot),), preconditions=(context.service,)))
    counted = {slot.key for slot in remaining}
    remaining += [slot for slot in slots.values() if slot.active and slot.key not in counted]  # their nodes are gone
    return ScaleDecision(tuple(remaining), tuple(steps))


def is_eligible(context: ServiceContext, node: Node) -> bool:
    """Whether a node gets a task now. A paused node keeps its task but gets no new one."""
    if node.status.state is not NodeState.READY or node.spec.availability is not NodeAvailability.ACTIVE:
        return False
    return fits_placement(context.service.spec.task.placement, node)
