"""Rebalance: which slot of a replicated service moves next to a node where its tasks are spread better, one at a time.

Invariant: a move is begun only if it makes the spread strictly better, measured as the scheduler ranks nodes: by the branches of the
placement preferences, then by the tasks on each node. So moves end, and none is undone by another. A slot moves once in a rebalance.
Nothing begins while a slot of the service lacks a running task that the update policy needs. Pure; called by ``rolling_update``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from covey.clock import MINUTE
from covey.objects import Node, Task, UpdateStatus
from covey.states import NodeAvailability, NodeState, ServiceMode, TaskState, UpdateState
from manager.constraints import label_value
from manager.loop.plan import earliest
from manager.orchestrator.slots import ServiceContext, Slot, fits_placement

RETRY_NS = MINUTE
"""How often an uneven service looks again for a node with room."""
_MAX_SOURCES = 16
"""Nodes whose tasks are considered in one pass, the fullest first."""


class NextMove(msgspec.Struct, frozen=True):
    """The slot to move now, or when to look again; neither if the service is spread as well as it can be."""

    slot: Slot | None = None
    look_again_at_ns: int = 0


def wants_rebalance(context: ServiceContext, status: UpdateStatus) -> bool:
    """Whether the service's policy is to move tasks to better nodes, and no update waits for a person."""
    spec = context.service.spec
    if not spec.rollout.rebalance or spec.rollout.stopped or spec.mode is not ServiceMode.REPLICATED:
        return False
    return status.state not in {UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED} and not context.waiting_for


def begun(now_ns: int) -> UpdateStatus:
    """The status of a rebalance that begins now."""
    return UpdateStatus(
        state=UpdateState.UPDATING, started_at_ns=now_ns, message="rebalance in progress", rebalancing=True
    )


def next_move(context: ServiceContext, slots: Sequence[Slot], status: UpdateStatus) -> NextMove:
    """The next move of a rebalance, or of one that could begin now."""
    placed = {slot.key: node for slot in slots if (node := _node_of(context, slot)) is not None}
    if len(placed) < len(slots) or not _is_uneven(context, list(placed.values())):
        return NextMove()
    preview = context.preview(context.view, context.now_ns)
    before = _unevenness(context, list(placed.values()))
    look_again_at_ns = context.now_ns + RETRY_NS
    for slot in _sources(context, slots, placed):
        if _runs(status) and _was_tried(slot, status):
            continue
        target = context.view.nodes.get(preview(slot.active[0]) or "")
        if target is None:
            continue
        after = _unevenness(context, [*[node for key, node in placed.items() if key != slot.key], target])
        if after >= before:
            continue
        settled_at_ns = _settled_at_ns(context, target, status)
        if settled_at_ns <= context.now_ns:
            return NextMove(slot)
        look_again_at_ns = earliest(look_again_at_ns, settled_at_ns)
    return NextMove(look_again_at_ns=look_again_at_ns)


def _node_of(context: ServiceContext, slot: Slot) -> Node | None:
    """The node on which the slot is or will be; None while that is open."""
    staying = [task for task in slot.active if not task.moving]
    if len(staying) != 1 or not staying[0].node_id or staying[0].status.state.terminal:
        return None
    return context.node(staying[0])


def _is_uneven(context: ServiceContext, nodes: Sequence[Node]) -> bool:
    """Whether a move could help: with preferences always, otherwise if a node has two tasks more than another could have."""
    placement = context.service.spec.task.placement
    if placement is not None and placement.preferences:
        return len(nodes) > 1
    counts = Counter([node.id for node in nodes])
    takes_tasks = [
        node
        for node in context.view.nodes
        if node.status.state is NodeState.READY
        and node.spec.availability is NodeAvailability.ACTIVE
        and fits_placement(placement, node)
    ]
    fewest = min([counts[node.id] for node in takes_tasks], default=0)
    return bool(takes_tasks) and max(counts.values(), default=0) - fewest > 1


def _unevenness(context: ServiceContext, nodes: Sequence[Node]) -> tuple[int, ...]:
    """Sums of the squared numbers of tasks: in the branches of each level of preferences, then on the nodes. Less is better."""
    placement = context.service.spec.task.placement
    preferences = placement.preferences if placement is not None else ()
    branches = [tuple([label_value(name, node) for name in preferences]) for node in nodes]
    levels = [Counter([branch[:depth] for branch in branches]) for depth in range(1, len(preferences) + 1)]
    counts: list[Counter[Any]] = [*levels, Counter([node.id for node in nodes])]
    return tuple([sum(number * number for number in counter.values()) for counter in counts])


def _sources(context: ServiceContext, slots: Sequence[Slot], placed: dict[int | str, Node]) -> list[Slot]:
    """One running slot of each node, those first whose leaving helps most, and of a node the newest."""
    everywhere = list(placed.values())
    newest: dict[str, Slot] = {}
    for slot in slots:
        task = slot.active[0]
        if len(slot.active) == 1 and task.status.state is TaskState.RUNNING:
            other = newest.get(task.node_id)
            if other is None or _age(task) > _age(other.active[0]):
                newest[task.node_id] = slot

    def left(slot: Slot) -> tuple[int, ...]:
        rest = list(everywhere)
        rest.remove(placed[slot.key])
        return _unevenness(context, rest)

    return sorted(newest.values(), key=lambda slot: (left(slot), str(slot.key)))[:_MAX_SOURCES]


def _age(task: Task) -> tuple[int, int]:
    return task.meta.created_at_ns, task.slot


def _runs(status: UpdateStatus) -> bool:
    """Whether the rebalance has begun and is not over."""
    return status.rebalancing and status.state is UpdateState.UPDATING


def _was_tried(slot: Slot, status: UpdateStatus) -> bool:
    return any(task.meta.created_at_ns >= status.started_at_ns for task in slot.tasks)


def _settled_at_ns(context: ServiceContext, node: Node, status: UpdateStatus) -> int:
    """From when a rebalance that nobody asked for uses the node: it must have been there for a while, and so must the last rebalance."""
    if _runs(status):
        return 0
    after_ns = context.service.spec.rollout.rebalance_after_ns
    return max(node.status.changed_at_ns, status.completed_at_ns) + after_ns
