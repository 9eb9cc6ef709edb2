"""Settled slots: those that need no decision, found with little work. Pure; called by the service planner.

A change of one task makes its whole service dirty, and nearly all other slots hold one running task of the present spec. Asking the
reconciler and the update about each of them would cost ten times as much.
"""

from __future__ import annotations

from covey.objects import EndpointSpec, Task
from covey.states import NodeAvailability, NodeState, TaskState
from manager.orchestrator.slots import ServiceContext, Slot, fits_placement

_NO_ENDPOINT = EndpointSpec()


class SettledSlots:
    """Answers for one pass over one service. What it says of a node is worked out once."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._nodes: dict[str, bool] = {}

    def is_settled(self, slot: Slot) -> bool:
        """Whether the slot has one task that should run, which runs the service's present spec on a node that takes tasks of it.

        The answer False may be wrong; True is only given if neither the reconciler nor an update would change anything.
        """
        tasks = slot.tasks if len(slot.tasks) == 1 else slot.active
        return len(tasks) == 1 and self._has_arrived(tasks[0])

    def _has_arrived(self, task: Task) -> bool:
        service = self._context.service
        return (
            task.spec is service.spec.task
            and task.spec_version == service.spec_version
            and task.status.state is TaskState.RUNNING
            and task.desired_state is TaskState.RUNNING
            and not task.moving
            and (task.endpoint is None or task.endpoint.spec == (service.spec.endpoint or _NO_ENDPOINT))
            and self._takes_tasks(task.node_id)
        )

    def _takes_tasks(self, node_id: str) -> bool:
        known = self._nodes.get(node_id)
        if known is None:
            known = self._nodes[node_id] = self._judge(node_id)
        return known

    def _judge(self, node_id: str) -> bool:
        node = self._context.view.nodes.get(node_id)
        if node is None or node.status.state is not NodeState.READY:
            return False
        active = node.spec.availability is NodeAvailability.ACTIVE
        return active and fits_placement(self._context.service.spec.task.placement, node)
