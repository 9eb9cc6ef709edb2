"""Global jobs: one completed task on every eligible node that was in the cluster when the run began.

Invariant: a node that joins later takes part from the next run on. A node that was down, paused or drained gets its task when it is
available. Pure; called by ``jobs``.
"""

from __future__ import annotations

from covey.objects import Node
from manager.loop import Step
from manager.orchestrator.global_ import is_eligible
from manager.orchestrator.job_slots import JobSlots
from manager.orchestrator.slot_reconciler import new_task_for_slot
from manager.orchestrator.slots import ServiceContext


def new_tasks(context: ServiceContext, state: JobSlots) -> tuple[Step, ...]:
    """Tasks for the nodes that have none in this run, except where the task of an earlier run may still run."""
    nodes = [node for node in context.view.nodes if node.id not in state.closed and takes_part(context, node)]
    created = [new_task_for_slot(context, state.slot(node.id)) for node in nodes]
    return tuple([Step(creates=(task,), preconditions=(context.service,)) for task in created])


def takes_part(context: ServiceContext, node: Node) -> bool:
    """Whether the present run has a task on the node, once the node is free for it."""
    status = context.service.job_status
    return status is not None and node.meta.created_at_ns <= status.last_execution_ns and is_eligible(context, node)
