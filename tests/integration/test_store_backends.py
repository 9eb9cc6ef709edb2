"""Store guarantees on each consensus backend: in memory, on Raft with a disk, on a real etcd."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.errors import AlreadyExistsError, CoveyError, NotFoundError, StaleVersionError, TooLargeError
from covey.objects import (
    Annotations,
    Config,
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    replace,
)
from manager.store import MAX_BYTES, MAX_CHANGES, Store, Tx, snapshot
from tests.property.test_store_model import (
    STEPS,
    Model,
    check_indexes,
    everything,
    follow,
    perform,
    reused_id,
    without_meta,
)
from tests.support.etcd_server import EtcdCluster, etcd_cluster
from tests.support.etcd_stores import eventually
from tests.support.store_backends import DURABLE_ENGINES, ENGINES, StoreBackend, store_backend

pytestmark = pytest.mark.timeout(120)
all_backends = pytest.mark.parametrize("name", ENGINES)
durable_backends = pytest.mark.parametrize("name", DURABLE_ENGINES)


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdCluster]:
    with etcd_cluster(1) as cluster:
        yield cluster


def ticking():
    numbers = iter(range(1000, 10**9))
    return lambda: next(numbers)


def config(name: str, data: bytes = b"") -> Config:
    return Config(id=f"id-{name}", spec=ConfigSpec(annotations=Annotations(name=name), data=data))


def rewrite(name: str, data: bytes):
    def apply(tx: Tx) -> None:
        item = tx.configs.by_name(name)
        tx.update(replace(item, spec=replace(item.spec, data=data)))

    return apply


@all_backends
async def test_the_store_sets_meta_and_versions_increase(name: str, etcd: EtcdCluster) -> None:
    async with store_backend(name, etcd, ticking()) as backend:
        store = backend.store
        await store.update(lambda tx: tx.create(config("a")))
        created = store.view().configs.by_name("a")
        assert created.meta.version == store.view().version
        assert created.meta.created_at_ns == created.meta.updated_at_ns >= 1000
        forged = replace(created, meta=replace(created.meta, created_at_ns=5, updated_at_ns=5))
        await store.update(lambda tx: tx.update(replace(forged, spec=replace(forged.spec, data=b"x"))))
        updated = store.view().configs.by_name("a")
        assert updated.meta.version == store.view().version > created.meta.version
        assert updated.meta.created_at_ns == created.meta.created_at_ns
        assert updated.meta.updated_at_ns > created.meta.updated_at_ns
        if name in DURABLE_ENGINES:
            assert (await backend.reopen()).view().configs.by_name("a") == updated


@all_backends
async def test_an_outdated_write_is_refused_and_changes_nothing(name: str, etcd: EtcdCluster) -> None:
    async with store_backend(name, etcd, ticking()) as backend:
        store = backend.store
        await store.update(lambda tx: tx.create(config("a", b"1")))
        old = store.view().configs.by_name("a")
        await store.update(rewrite("a", b"2"))
        before = store.view()
        for error, apply in (
            (StaleVersionError, lambda tx: tx.update(old)),
            (AlreadyExistsError, lambda tx: tx.create(config("a"))),
            (AlreadyExistsError, lambda tx: tx.create(replace(config("a"), id="other"))),
            (NotFoundError, lambda tx: (tx.create(config("b")), tx.remove(Config, "absent"))),
        ):
            with pytest.raises(error):
                await store.update(apply)
        assert store.view() is before


@all_backends
async def test_the_largest_objects_and_transactions_are_accepted(name: str, etcd: EtcdCluster) -> None:
    async with store_backend(name, etcd, ticking()) as backend:
        store = backend.store
        big = bytes(MAX_BYTES - 200)
        await store.update(lambda tx: tx.create(config("big", big)))
        with pytest.raises(TooLargeError, match="exceeds the limit"):
            await store.update(lambda tx: tx.create(config("bigger", bytes(MAX_BYTES))))
        most = (MAX_BYTES // MAX_CHANGES) - 120
        await store.update(lambda tx: [tx.create(config(f"{n}", bytes(most))) for n in range(MAX_CHANGES)])
        refused = await store.batch([lambda tx, n=n: tx.create(config(f"c{n}")) for n in range(300)])
        assert refused == ()
        assert len(store.view().configs) == 1 + MAX_CHANGES + 300
        if name in DURABLE_ENGINES:
            again = await backend.reopen()
            assert again.view().configs.by_name("big").spec.data == big
            assert len(again.view().configs) == 1 + MAX_CHANGES + 300


@all_backends
async def test_a_watch_has_neither_gap_nor_overlap(name: str, etcd: EtcdCluster) -> None:
    async with store_backend(name, etcd, ticking()) as backend:
        store = backend.store
        await store.update(lambda tx: tx.create(config("first")))
        with store.watch() as (view, commits):
            async with asyncio.TaskGroup() as tasks:
                for number in range(40):
                    tasks.create_task(store.update(lambda tx, n=number: tx.create(config(f"{n}"))))
            seen = [await anext(commits) for _ in range(40)]
        assert [c.id for c in view.configs] == ["id-first"]
        assert {c.changes[0].item.id for c in seen} == {f"id-{n}" for n in range(40)}
        versions = [view.version, *[c.version for c in seen]]
        assert versions == sorted(set(versions))
        assert seen[-1].version == store.view().version


@all_backends
async def test_concurrent_counters_lose_no_update(name: str, etcd: EtcdCluster) -> None:
    async with store_backend(name, etcd, ticking()) as backend:
        store = backend.store

        def add(key: str):
            def apply(tx: Tx) -> None:
                item = tx.configs.by_name(key)
                tx.update(replace(item, spec=replace(item.spec, data=b"%d" % (int(item.spec.data) + 1))))

            return apply

        for key in "abc":
            await store.update(lambda tx, key=key: tx.create(config(key, b"0")))
        async with asyncio.TaskGroup() as tasks:
            for number in range(60):
                tasks.create_task(store.update(add("abc"[number % 3])))
        assert [store.view().configs.by_name(key).spec.data for key in "abc"] == [b"20"] * 3


@all_backends
async def test_a_cancelled_write_blocks_no_other_write(name: str, etcd: EtcdCluster) -> None:
    async with store_backend(name, etcd, ticking()) as backend:
        store = backend.store
        for number in range(20):
            leaving = asyncio.ensure_future(store.update(lambda tx: tx.create(config("a"))))
            for _ in range(number % 5):
                await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            with_or_without = store.view().configs.by_name("a")
            async with asyncio.timeout(5):
                try:
                    await store.update(lambda tx: tx.create(config("a")))
                except AlreadyExistsError:
                    assert with_or_without or store.view().configs.by_name("a")
                await store.update(lambda tx: tx.remove(Config, "id-a"))


@durable_backends
async def test_another_process_reads_the_same_state(name: str, etcd: EtcdCluster) -> None:
    async with store_backend(name, etcd, ticking()) as backend:
        store = backend.store
        spec = TaskSpec(container=ContainerSpec(image="i", configs=(ConfigReference(config_id="id-a"),)))
        service = Service(id="s", spec=ServiceSpec(annotations=Annotations(name="s"), task=spec))
        await store.update(lambda tx: (tx.create(config("a")), tx.create(service)))
        for slot in range(5):
            await store.update(lambda tx, n=slot: tx.create(Task(id=f"t{n}", service_id="s", slot=n, spec=spec)))
        await store.update(rewrite("a", b"2"))
        await store.update(lambda tx: tx.remove(Task, "t0"))
        before = snapshot.encode(store.view(), ())
        again = await backend.reopen()
        assert snapshot.encode(again.view(), ()) == before
        held = again.view().services.get("s").spec.task
        assert all(task.spec is held for task in again.view().tasks), (
            "a service and its tasks do not share one spec object"
        )
        await again.update(rewrite("a", b"3"))


@durable_backends
def test_the_store_equals_a_dictionary_in_every_process(name: str, etcd: EtcdCluster) -> None:
    with asyncio.Runner() as runner:
        opened = store_backend(name, etcd, ticking())
        backend: StoreBackend = runner.run(opened.__aenter__())
        try:

            @settings(max_examples=25, deadline=None, database=None)
            @given(st.lists(STEPS, max_size=6))
            def equal(transactions: list) -> None:
                runner.run(run_model(backend.store, transactions))

            equal()
            content = everything(backend.store.view())
            assert everything(runner.run(backend.reopen()).view()) == content
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def run_model(store: Store, transactions: list) -> None:
    await eventually("the store to lead", lambda: store.consensus.leadership.is_leader)
    await store.batch([lambda tx, kind=kind, i=i: tx.remove(kind, i) for kind, i in everything(store.view())])
    content: dict = {}
    with store.watch() as (_, commits):
        watched: dict = {}
        for steps in transactions:
            attempt = Model(content)
            try:
                for step in steps:
                    attempt.perform(*step)
                expected = attempt.content
            except LookupError:
                expected = None
            before = store.view()
            try:
                await store.update(lambda tx, steps=steps: [perform(tx, *step) for step in steps])
            except CoveyError:
                assert expected is None or reused_id(steps)
                assert store.view() is before
            else:
                assert expected is not None
                content = expected
            assert without_meta(everything(store.view())) == content
            if store.view() is not before:
                follow(watched, await anext(commits))
            assert watched == everything(store.view())
    check_indexes(store.view())
