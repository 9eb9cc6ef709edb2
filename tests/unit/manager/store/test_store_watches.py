"""Watches of the store: a view and every later commit, or LaggedError."""

import asyncio

import pytest

from covey.errors import LaggedError
from covey.objects import Annotations, Config, ConfigSpec, Node, Secret
from manager.store import Member, MemoryConsensus, Store, View, snapshot
from manager.store.observable import ObservableValue


def config(name: str) -> Config:
    return Config(id=name, spec=ConfigSpec(annotations=Annotations(name=name)))


async def create(store: Store, *names: str) -> None:
    for name in names:
        await store.update(lambda tx, name=name: tx.create(config(name)))


async def test_a_watch_has_neither_gap_nor_overlap() -> None:
    store = Store(MemoryConsensus)
    await create(store, "a")
    with store.watch() as (view, commits):
        await create(store, "b", "c")
        assert [c.id for c in view.configs] == ["a"]
        seen = [await anext(commits) for _ in range(2)]
        assert [c.changes[0].after.id for c in seen] == ["b", "c"]
        assert [c.version for c in seen] == [view.version + 1, view.version + 2]


async def test_a_waiting_reader_is_woken() -> None:
    store = Store(MemoryConsensus)
    with store.watch() as (_, commits):
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(anext(commits))
            await asyncio.sleep(0)
            await create(store, "a")
        assert reading.result().changes[0].after.id == "a"


async def test_a_reader_that_lags_gets_an_error_and_its_queue_is_dropped() -> None:
    store = Store(MemoryConsensus)
    with store.watch(limit=2) as (_, commits), store.watch(limit=3) as (_, other):
        await create(store, "a", "b", "c")
        with pytest.raises(LaggedError, match="2 commits behind"):
            await anext(commits)
        with pytest.raises(LaggedError):
            await anext(commits)
        assert [(await anext(other)).changes[0].after.id for _ in range(3)] == ["a", "b", "c"]
    assert store._watches == []


async def test_a_snapshot_from_the_leader_ends_every_watch() -> None:
    store = Store(MemoryConsensus)
    with store.watch() as (_, commits):
        await create(store, "a")
        store.consensus._machine.decode(9, snapshot.encode(View.empty(), ()))()
        with pytest.raises(LaggedError, match="replaced by a snapshot"):
            await anext(commits)
    assert len(store.view().configs) == 0
    assert store.view().version == 9


def test_a_snapshot_names_the_members() -> None:
    member = Member(raft_id=5, node_id="n", addr="10.0.0.1:2378")
    assert snapshot.decode(3, snapshot.encode(View.empty(), (member,)))[1] == (member,)


async def test_a_subscriber_gets_the_leadership_at_once_and_then_only_the_latest() -> None:
    latest = ObservableValue(1)
    with latest.subscribe() as changes:
        assert await anext(changes) == 1
        latest.set(2)
        latest.set(3)
        assert await anext(changes) == 3
        latest.set(3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(changes)
    assert latest._readers == []


async def test_a_watch_leaves_out_commits_of_kinds_that_its_reader_ignores() -> None:
    store = Store(MemoryConsensus)
    with store.watch(ignored=frozenset({Secret})) as (_, commits):
        await store.update(lambda tx: tx.create(Secret(id="s1")))
        assert not commits.ready
        await store.update(lambda tx: (tx.create(Secret(id="s2")), tx.create(Node(id="n1"))))
        assert {change.item.id for change in (await anext(commits)).changes} == {"s2", "n1"}
