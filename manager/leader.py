"""Control loops of the leader: started when this manager wins leadership, cancelled when it loses it.

Invariant: no loop outlives its leadership, and every loop starts from the store alone. Run by ``manager.main``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

from covey.clock import Clock, wall_clock
from covey.ids import IdSource, new_id
from covey.objects import Author
from covey.task_group import TaskGroup
from manager.allocator.default_networks import DefaultNetworksPlanner
from manager.allocator.planner import AllocatorPlanner
from manager.ca.root_rotation import RootRotationPlanner
from manager.loop import ControlLoop
from manager.orchestrator.orphans import OrphanPlanner
from manager.orchestrator.reaper import ReaperPlanner
from manager.orchestrator.secret_versions import SecretVersionPlanner
from manager.orchestrator.service_planner import ServicePlanner
from manager.scheduler.planner import SchedulerPlanner
from manager.scheduler.preview import preview_placement
from manager.scheduler.spread import ImageNodes, no_image_nodes
from manager.store.author import acting_as
from manager.store.consensus import Leadership
from manager.store.store import Store

Work = Callable[[], Coroutine[Any, Any, None]]
"""Other work of the leader (dispatcher, role manager): a coroutine that runs until it is cancelled."""

_log = logging.getLogger("covey.leader")
_PAUSE_SECONDS = 0.5


def loops(
    store: Store, *, clock: Clock = wall_clock, ids: IdSource = new_id, image_nodes: ImageNodes = no_image_nodes
) -> tuple[ControlLoop, ...]:
    """All control loops, each with a new planner. ``image_nodes`` returns the nodes that have an image."""
    return (
        ControlLoop("services", store, ServicePlanner(ids, preview_placement), clock),
        ControlLoop("default networks", store, DefaultNetworksPlanner(ids), clock),
        ControlLoop("allocator", store, AllocatorPlanner(), clock),
        ControlLoop("scheduler", store, SchedulerPlanner(image_nodes), clock),
        ControlLoop("orphans", store, OrphanPlanner(), clock),
        ControlLoop("reaper", store, ReaperPlanner(), clock),
        ControlLoop("secret versions", store, SecretVersionPlanner(), clock),
        ControlLoop("root rotation", store, RootRotationPlanner(), clock),
    )


async def run_leader(
    store: Store,
    *,
    also: Iterable[Work] = (),
    clock: Clock = wall_clock,
    ids: IdSource = new_id,
    image_nodes: ImageNodes = no_image_nodes,
) -> None:
    """Runs the leader's work until cancelled. If a part fails, all of it ends."""
    async with TaskGroup() as group:
        for loop in loops(store, clock=clock, ids=ids, image_nodes=image_nodes):
            group.create_task(loop.run())
        for work in also:
            group.create_task(_as_leader(work))


async def _as_leader(work: Work) -> None:
    with acting_as(Author(component="leader")):
        await work()


async def run_while_leading(
    store: Store,
    *,
    also: Iterable[Work] = (),
    clock: Clock = wall_clock,
    ids: IdSource = new_id,
    image_nodes: ImageNodes = no_image_nodes,
) -> None:
    """Runs ``run_leader`` for each term that this manager leads, until cancelled."""
    works = tuple(also)

    async def work() -> None:
        await _restarting(lambda: run_leader(store, also=works, clock=clock, ids=ids, image_nodes=image_nodes))

    with store.consensus.subscribe() as changes:
        leadership = await anext(changes)
        while True:
            if leadership.is_leader:
                leadership = await _lead(work, changes, leadership)
            else:
                leadership = await anext(changes)


async def _lead(work: Work, changes: AsyncIterator[Leadership], leadership: Leadership) -> Leadership:
    """Works until the leadership changes, and returns the new one."""
    term = leadership.term
    _log.info("this manager leads in term %d", term)
    async with TaskGroup() as group:
        working = group.create_task(work())
        while leadership.is_leader and leadership.term == term:
            leadership = await anext(changes)
        working.cancel()
    _log.info("this manager no longer leads, term %d", leadership.term)
    return leadership


async def _restarting(work: Work) -> None:
    while True:
        try:
            await work()
        except* Exception:  # supervision: one failed part must not leave the cluster without a control plane
            _log.exception("the leader's work failed and restarts in %.1f s", _PAUSE_SECONDS)
        await asyncio.sleep(_PAUSE_SECONDS)
