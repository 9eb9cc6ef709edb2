"""Model test of the store: it equals a dictionary, its indexes a search, and its replicas, snapshots and watches equal it."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.errors import CoveyError
from covey.objects import (
    Annotations,
    ConfigReference,
    ContainerSpec,
    Endpoint,
    NetworkAttachment,
    NetworkAttachmentConfig,
    Node,
    NodeStatus,
    Secret,
    SecretReference,
    SecretSpec,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    VirtualIP,
    WatchedStack,
    WatchedStackSpec,
    replace,
)
from covey.states import NodeRole
from manager.store import Action, MemoryConsensus, Store, Tx, View, snapshot
from manager.store.schema import BY_KIND, SCHEMAS

IDS = st.sampled_from(["a1", "a2", "b1", "b2"])
NAMES = st.sampled_from(["", "x", "y", "z"])
REFS = st.lists(st.sampled_from(["n1", "n2"]), max_size=2, unique=True).map(tuple)


@st.composite
def task_specs(draw: st.DrawFn) -> TaskSpec:
    return TaskSpec(
        container=ContainerSpec(
            secrets=tuple(SecretReference(secret_id=i) for i in draw(REFS)),
            configs=tuple(ConfigReference(config_id=i) for i in draw(REFS)),
        ),
        networks=tuple(NetworkAttachmentConfig(target=i) for i in draw(REFS)),
    )


@st.composite
def objects(draw: st.DrawFn):
    id_, named = draw(IDS), Annotations(name=draw(NAMES))
    kind = draw(st.sampled_from([Task, Service, Secret, Node, WatchedStack]))
    if kind is Secret:
        return Secret(id=id_, spec=SecretSpec(annotations=named, data=draw(st.binary(max_size=3))))
    if kind is WatchedStack:
        return WatchedStack(id=id_, spec=WatchedStackSpec(annotations=named), request=draw(st.integers(0, 2)))
    if kind is Node:
        addr = draw(st.sampled_from(["", "10.0.0.1", "10.0.0.2"]))
        return Node(id=id_, role=draw(st.sampled_from(NodeRole)), status=NodeStatus(addr=addr))
    if kind is Service:
        vips = tuple(VirtualIP(network_id=i) for i in draw(REFS))
        spec = ServiceSpec(annotations=named, task=draw(task_specs()))
        return Service(id=id_, spec=spec, endpoint=Endpoint(virtual_ips=vips) if vips else None)
    return Task(
        id=id_,
        annotations=named,
        spec=draw(task_specs()),
        service_id=draw(IDS),
        node_id=draw(st.sampled_from(["", "m", "w"])),
        slot=draw(st.integers(0, 2)),
        networks=tuple(NetworkAttachment(network_id=i) for i in draw(REFS)),
    )


NAMED = {Service, Secret, WatchedStack}
STEPS = st.lists(st.tuples(st.sampled_from(["create", "update", "stale", "remove"]), objects()), min_size=1, max_size=6)


def perform(tx: Tx, step: str, item) -> None:
    if step == "create":
        tx.create(item)
    elif step == "remove":
        tx.remove(type(item), item.id)
    else:
        stored = tx.state(BY_KIND[type(item)]).objects.get(item.id)
        version = 0 if stored is None else stored.meta.version - (step == "stale")
        tx.update(replace(item, meta=replace(item.meta, version=version)))


class Model:
    """The same in a dictionary, without a thought for speed."""

    def __init__(self, content: dict) -> None:
        self.content = dict(content)

    def perform(self, step: str, item) -> None:
        key = (type(item), item.id)
        names = {(k, o.spec.annotations.name): o.id for (k, _), o in self.content.items() if k in NAMED}
        exists, clash = key in self.content, False
        if type(item) in NAMED and item.spec.annotations.name:
            clash = names.get((type(item), item.spec.annotations.name), item.id) != item.id
        if step == "remove":
            require(exists)
            del self.content[key]
            return
        require(not clash and step != "stale" and exists == (step == "update"))
        self.content[key] = item


def require(condition: bool) -> None:
    if not condition:
        raise LookupError


def everything(view: View) -> dict:
    found = {}
    for schema in SCHEMAS:
        for item in view.state(schema).objects.values():
            found[type(item), item.id] = item
    return found


def without_meta(content: dict) -> dict:
    return {key: replace(item, meta=type(item.meta)()) for key, item in content.items()}


def check_indexes(view: View) -> None:
    content = everything(view).values()
    for schema in SCHEMAS:
        mine = [item for item in content if type(item) is schema.kind]
        for name, keys in schema.indexes.items():
            searched = {}
            for item in mine:
                for key in keys(item):
                    searched.setdefault(key, set()).add(item.id)
            state = view.state(schema).indexes[name]
            assert {key: set(state[key]) for key in state} == searched, (schema.field, name)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=12))
def test_the_store_equals_a_dictionary_and_its_replica_snapshot_and_watch_equal_it(transactions: list) -> None:
    async def run() -> None:
        log: list[tuple[int, bytes]] = []

        class Recording(MemoryConsensus):
            async def propose(self, data: bytes) -> int:
                index = await super().propose(data)
                log.append((index, data))
                return index

        numbers = iter(range(1, 10**6))
        store = Store(Recording, lambda: next(numbers))
        model: dict = {}
        with store.watch() as (_, commits):
            told: dict = {}
            for steps in transactions:
                attempt = Model(model)
                try:
                    for step in steps:
                        attempt.perform(*step)
                    expected = attempt.content
                except LookupError:
                    expected = None
                before = store.view()
                try:
                    await store.update(lambda tx, steps=steps: [perform(tx, *step) for step in steps])
                    succeeded = True
                except CoveyError:
                    succeeded = False
                    assert store.view() is before
                if succeeded and expected is not None:
                    model = expected
                assert succeeded == (expected is not None) or reused_id(steps)
                if succeeded and expected is None:
                    raise AssertionError("the store took what the model refuses")
                assert without_meta(everything(store.view())) == model
                check_indexes(store.view())
                if store.view() is not before:
                    follow(told, await anext(commits))
                assert told == everything(store.view())
        replica = Store(MemoryConsensus, lambda: 0)
        for index, data in log:
            replica._apply(index, data)
        assert everything(replica.view()) == everything(store.view())
        copy = snapshot.encode(store.view(), ())
        assert everything(snapshot.decode(store.view().version, copy)[0]) == everything(store.view())
        assert snapshot.encode(replica.view(), ()) == copy

    asyncio.run(run())


def reused_id(steps: list) -> bool:
    """The store refuses to create an id again that the same transaction removed; the model does not."""
    removed = set()
    for step, item in steps:
        if step == "remove":
            removed.add((type(item), item.id))
        elif step == "create" and (type(item), item.id) in removed:
            return True
    return False


def follow(told: dict, commit) -> None:
    for change in commit.changes:
        key = (type(change.item), change.item.id)
        assert told.get(key) == change.before
        if change.action is Action.REMOVE:
            del told[key]
        else:
            assert change.after.meta.version == commit.version
            told[key] = change.after


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 3)), min_size=1, max_size=12), st.randoms())
def test_concurrent_counters_lose_no_update_whatever_the_order_of_commits(work: list, random) -> None:
    """Proposals commit in order but at any moment, and some are reported lost while they are not."""

    class Slow(MemoryConsensus):
        async def propose(self, data: bytes) -> int:
            for _ in range(random.randint(0, 3)):
                await asyncio.sleep(0)
            return await super().propose(data)

    async def run() -> None:
        store = Store(Slow)
        for name in "abc":
            item = Secret(id=name, spec=SecretSpec(annotations=Annotations(name=name), data=b"0"))
            await store.update(lambda tx, item=item: tx.create(item))

        async def add(name: str, amount: int, pause: int) -> None:
            for _ in range(pause):
                await asyncio.sleep(0)

            def apply(tx: Tx) -> None:
                item = tx.secrets.by_name(name)
                data = b"%d" % (int(item.spec.data) + amount)
                tx.update(replace(item, spec=replace(item.spec, data=data)))

            await store.update(apply)

        async with asyncio.TaskGroup() as tasks:
            for name, amount in work:
                tasks.create_task(add(name, amount, random.randint(0, 4)))
        for name in "abc":
            total = sum(amount for worked, amount in work if worked == name)
            assert int(store.view().secrets.by_name(name).spec.data) == total

    asyncio.run(run())
