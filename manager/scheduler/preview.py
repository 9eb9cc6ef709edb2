"""Placement preview: which node the scheduler would give a task that is placed already. Pure; used by the rebalance of services."""

from __future__ import annotations

from collections.abc import Callable

from covey.objects import Task
from manager.scheduler.node_load import NodeLoadIndex
from manager.scheduler.request import PlacementRequest
from manager.scheduler.spread import SpreadPlacer
from manager.store.view import View


def preview_placement(view: View, now_ns: int) -> Callable[[Task], str | None]:
    """A function from a placed task to the node that it would be given if it were not there yet; None if no node takes it."""
    index = NodeLoadIndex.from_view(view)

    def node_for(task: Task) -> str | None:
        request, usage = PlacementRequest.for_task(task, view.networks), index.usage(task.id)
        own = index.loads.get(task.node_id)
        if own is None or usage is None:
            return None
        own.add(task.id, usage, -1)
        found = SpreadPlacer(request, index.existing_nodes(), lambda _id, _usage: None, now_ns).place_next(task.id)
        own.add(task.id, usage, 1)
        return found

    return node_for
