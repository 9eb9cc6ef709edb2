"""The leader's control loops on a real store in real time: what runs while this manager leads, and nothing while it does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import asynccontextmanager

from covey.objects import Annotations, Cluster, Network, NetworkSpec, Object, Service, replace
from covey.states import TaskState
from manager.leader import loops, run_while_leading
from manager.loop import ControlLoop, KeyedPlanner, Plan, Step
from manager.store.memory_consensus import MemoryConsensus
from manager.store.store import Store
from manager.store.view import View
from tests.support.planning import node, service


async def until(store: Store, condition: Callable[[View], bool], seconds: float = 5) -> None:
    with store.watch() as (_, commits):
        async with asyncio.timeout(seconds):
            while not condition(store.view()):
                await anext(commits)


@asynccontextmanager
async def running(*works):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
        yield
        for item in tasks:
            item.cancel()


async def store_with(*objects: Object) -> Store:
    store = Store(MemoryConsensus)
    await store.update(lambda tx: [tx.create(item) for item in objects])
    return store


async def rest() -> None:
    """Lets every task that can run do so, many times."""
    for _ in range(200):
        await asyncio.sleep(0)


def loop_tasks() -> set[str]:
    """The control loops that run now."""
    return {
        str(id(task)) for task in asyncio.all_tasks() if task.get_coro().__qualname__ == ControlLoop.run.__qualname__
    }


def assigned(view: View) -> int:
    return sum(item.status.state is TaskState.ASSIGNED for item in view.tasks)


CLUSTER = (Cluster(id="cluster"), node("n1"), node("n2"))
NETWORK = Network(id="net", spec=NetworkSpec(annotations=Annotations(name="net")))


async def test_thirty_replicas_on_a_network_are_assigned_in_few_transactions() -> None:
    store = await store_with(*CLUSTER, NETWORK)
    async with running(run_while_leading(store)):
        await store.update(lambda tx: tx.create(service(replicas=30, networks=("net",))))
        await until(store, lambda view: assigned(view) == 30)
    assert store.view().version < 20


async def test_the_loops_rest_without_leadership_and_go_on_with_it() -> None:
    store = await store_with(*CLUSTER)
    async with running(run_while_leading(store)):
        await store.update(lambda tx: tx.create(service(replicas=1)))
        await until(store, lambda view: assigned(view) == 1)
        store.consensus.lead(leading=False)
        await rest()
        assert loop_tasks() == set(), "no loop outlives the leadership"
        store.consensus.lead(leading=True)
        stored = store.view().services.get("web")
        await store.update(lambda tx: tx.update(replace(stored, spec=replace(stored.spec, replicas=3))))
        await until(store, lambda view: assigned(view) == 3)
        assert len(loop_tasks()) == len(loops(store)), "each loop runs once"


async def test_work_brought_along_runs_only_while_leading() -> None:
    store = await store_with(*CLUSTER)
    log: list[str] = []

    async def work() -> None:
        log.append("begins")
        try:
            await asyncio.Event().wait()
        finally:
            log.append("ends")

    async def seen(count: int) -> None:
        async with asyncio.timeout(5):
            while len(log) < count:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0)

    async with running(run_while_leading(store, also=(work,))):
        await seen(1)
        store.consensus.lead(leading=False)
        await seen(2)
        await rest()
        assert log == ["begins", "ends"], "nothing begins while this manager does not lead"
        store.consensus.lead(leading=True)
        await seen(3)
    assert log == ["begins", "ends", "begins", "ends"]


class Labelling(KeyedPlanner[str]):
    """Writes a label on every service; fails on the one called broken, and the first time it is asked at all."""

    def __init__(self, *, fails_once: bool = False) -> None:
        super().__init__()
        self.resets = 0
        self._fails = fails_once

    def reset(self, view: View) -> None:
        self.resets += 1
        super().reset(view)

    def all_keys(self, view: View):
        return [item.id for item in view.services]

    def keys_of(self, before, after):
        item = after or before
        return [item.id] if isinstance(item, Service) else []

    def plan(self, view: View, now_ns: int) -> Plan:
        if self._fails:
            self._fails = False
            raise RuntimeError("the first time")
        return super().plan(view, now_ns)

    def plan_key(self, view: View, key: str, now_ns: int) -> Plan:
        item = view.services.get(key)
        if key == "broken":
            raise RuntimeError("no decision on this one")
        if item is None or item.spec_version:
            return Plan()
        return Plan((Step(updates=(replace(item, spec_version=7),)),))


def labelled(view: View) -> set[str]:
    return {item.id for item in view.services if item.spec_version == 7}


async def test_one_object_that_cannot_be_decided_on_holds_up_no_other_and_is_logged(caplog) -> None:
    store = await store_with(service("broken"), service("good"))
    with caplog.at_level(logging.ERROR):
        async with running(ControlLoop("labels", store, Labelling()).run()):
            await until(store, lambda view: labelled(view) == {"good"})
    assert "cannot decide on broken" in caplog.text


async def test_a_planner_that_fails_is_logged_and_starts_again_from_a_snapshot(caplog) -> None:
    store = await store_with(service("good"))
    planner = Labelling(fails_once=True)
    with caplog.at_level(logging.ERROR):
        async with running(ControlLoop("labels", store, planner).run()):
            await until(store, lambda view: labelled(view) == {"good"})
    assert planner.resets == 2
    assert "failed and restarts" in caplog.text


async def test_a_loop_without_leadership_waits_and_loses_nothing() -> None:
    store = await store_with(service("good"))
    store.consensus.lead(leading=False)
    planner = Labelling()
    async with running(ControlLoop("labels", store, planner).run()):
        async with asyncio.timeout(5):
            while planner.resets < 2:  # noqa: ASYNC110 - nothing announces a reset
                await asyncio.sleep(0.01)
        assert store.view().services.get("good").spec_version == 0, "nothing is written without leadership"
        store.consensus.lead(leading=True)
        await until(store, lambda view: labelled(view) == {"good"})


async def test_a_refused_step_is_planned_again() -> None:
    """The service changes between the plan and its carrying out, by a write that the planner's keys do not tell of."""
    store = await store_with(service("good"))

    class Late(Labelling):
        interfered = False

        def plan_key(self, view, key, now_ns):
            plan = super().plan_key(view, key, now_ns)
            if plan.steps and not self.interfered:
                self.interfered = True
                stale = replace(plan.steps[0].updates[0], meta=replace(view.services.get(key).meta, version=0))
                return Plan((Step(updates=(stale,)),))
            return plan

        def observe(self, before, after) -> None:
            if before is None:
                super().observe(before, after)

    async with running(ControlLoop("labels", store, Late()).run()):
        await until(store, lambda view: labelled(view) == {"good"})
