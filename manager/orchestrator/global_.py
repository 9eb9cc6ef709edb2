"""Global services: one task on every node that may have one.

Law: a node's slot bears its id; a node that is down, drained or no longer meets the constraints has none, and gets one when it
returns. Pure; called by the planner of services.
"""

from __future__ import annotations

from collections.abc import Mapping

from covey.objects import Node
from covey.states import NodeAvailability, NodeState
from manager.loop import Step
from manager.orchestrator.replicated import Scale
from manager.orchestrator.slots import Context, Key, Slot
from manager.orchestrator.upkeep import fill, spent
from manager.scheduler.constraint import platform_fits, satisfied


def spread(context: Context, slots: Mapping[Key, Slot]) -> Scale:
    keep, steps = [], []
    for node in context.view.nodes:
        slot = slots.get(node.id, Slot(node.id))
        if slot.active or spent(context, slot):
            keep.append(slot)
        elif eligible(context, node):
            steps.append(Step(creates=(fill(context, slot),), needs=(context.service,)))
    known = {slot.key for slot in keep}
    keep += [slot for slot in slots.values() if slot.active and slot.key not in known]  # their nodes are gone
    return Scale(tuple(keep), tuple(steps))


def eligible(context: Context, node: Node) -> bool:
    """Whether a node is to get a task now; one that is paused keeps what it has."""
    if node.status.state is not NodeState.READY or node.spec.availability is not NodeAvailability.ACTIVE:
        return False
    placement = context.service.spec.task.placement
    return placement is None or (satisfied(placement, node) and platform_fits(placement.platforms, node))
