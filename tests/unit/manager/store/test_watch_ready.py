"""``Watch.ready``: whether the next read returns at once."""

import pytest

from covey.errors import LaggedError
from covey.objects import Annotations, Config, ConfigSpec
from manager.store import MemoryConsensus, Store


async def create(store: Store, name: str) -> None:
    config = Config(id=name, spec=ConfigSpec(annotations=Annotations(name=name), data=b"x"))
    await store.update(lambda tx: tx.create(config))


async def test_a_watch_is_ready_while_commits_wait():
    store = Store(MemoryConsensus)
    with store.watch() as (_, commits):
        assert not commits.ready
        await create(store, "a")
        await create(store, "b")
        taken = []
        while commits.ready:
            taken += [change.item.id for change in (await anext(commits)).changes]
        assert taken == ["a", "b"]


async def test_a_watch_that_lags_is_ready_to_raise():
    store = Store(MemoryConsensus)
    with store.watch(limit=1) as (_, commits):
        await create(store, "a")
        await create(store, "b")
        assert commits.ready
        with pytest.raises(LaggedError):
            await anext(commits)
