"""Node-down detection in a dispatcher term: a stall of the leader is told from silence of the nodes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from covey.clock import SECOND
from covey.objects import Cluster, Node, NodeDescription
from covey.states import NodeState
from manager.dispatcher.term import DispatcherTerm
from manager.health import CHECK_INTERVAL_NS
from manager.store import MemoryConsensus, Store


class SteppedClock:
    """The time in nanoseconds; it moves on by one check interval each time somebody has slept for one."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now_ns

    async def run(self) -> None:
        while True:
            await asyncio.sleep(CHECK_INTERVAL_NS / SECOND)
            self.now_ns += CHECK_INTERVAL_NS


@asynccontextmanager
async def running_term() -> AsyncIterator[tuple[Store, DispatcherTerm, SteppedClock]]:
    store, clock = Store(MemoryConsensus), SteppedClock()
    await store.update(lambda tx: tx.create(Cluster(id="c1")))
    await store.update(lambda tx: tx.create(Node(id="n1")))
    term = DispatcherTerm(store, clock)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(term.run()), group.create_task(clock.run())]
        yield store, term, clock
        for task in tasks:
            task.cancel()


async def checks(term: DispatcherTerm, count: int) -> None:
    """Waits until so many checks of the heartbeats are done."""
    for _ in range(count):
        await asyncio.sleep(CHECK_INTERVAL_NS / SECOND)
    assert term.sessions == {}


async def test_a_leader_that_stood_still_calls_no_node_down_and_still_finds_a_dead_one() -> None:
    async with asyncio.timeout(30), running_term() as (store, term, clock):
        await term.register_node("n1", NodeDescription(), "192.0.2.1")
        await checks(term, 2)
        clock.now_ns += 60 * SECOND
        await checks(term, 4)
        assert store.view().nodes.find("n1").status.state is NodeState.READY
        with store.watch() as (_, commits):
            while store.view().nodes.find("n1").status.state is not NodeState.DOWN:
                await anext(commits)
