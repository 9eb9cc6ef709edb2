"""Transactions of the store: refusals, conflicts with pending ones, and failures."""

import asyncio
from collections.abc import Callable

import pytest

from covey.errors import (
    AlreadyExistsError,
    ConflictError,
    DeadlineError,
    NotFoundError,
    StaleVersionError,
    TooLargeError,
)
from covey.objects import (
    Annotations,
    Config,
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    Network,
    NetworkSpec,
    Node,
    NodeDescription,
    Secret,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    replace,
)
from covey.states import NodeRole
from manager.store import Action, MemoryConsensus, NotLeaderError, Store, Tx, snapshot


def config(name: str, data: bytes = b"") -> Config:
    return Config(id=f"id-{name}", spec=ConfigSpec(annotations=Annotations(name=name), data=data))


def store(clock=lambda: 77) -> Store:
    return Store(MemoryConsensus, clock)


class HeldConsensus(MemoryConsensus):
    """Commits when told to, in the order proposed: a group with a slow network."""

    def __init__(self, machine) -> None:
        super().__init__(machine)
        self.waiting: list[tuple[bytes, asyncio.Future]] = []

    async def propose(self, data: bytes) -> int:
        done = asyncio.get_running_loop().create_future()
        self.waiting.append((data, done))
        return await done

    async def commit(self) -> None:
        """All that is waiting."""
        waiting, self.waiting = self.waiting, []
        for data, done in waiting:
            index = await super().propose(data)
            if not done.done():
                done.set_result(index)
        await settle()

    async def lose(self, error: Exception) -> None:
        waiting, self.waiting = self.waiting, []
        for _, done in waiting:
            done.set_exception(error)
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_store_writes_meta_and_the_version_is_the_log_index() -> None:
    s = store()
    await s.update(lambda tx: tx.create(config("a")))
    created = s.view().configs.by_name("a")
    assert (created.meta.version, created.meta.created_at_ns, created.meta.updated_at_ns) == (1, 77, 77)
    s._clock = lambda: 99
    await s.update(lambda tx: tx.update(replace(created, spec=replace(created.spec, data=b"x"))))
    updated = s.view().configs.get("id-a")
    assert (updated.meta.version, updated.meta.created_at_ns, updated.meta.updated_at_ns) == (2, 77, 99)
    assert s.view().version == 2


async def test_a_stale_version_is_refused_and_a_view_never_changes() -> None:
    s = store()
    await s.update(lambda tx: tx.create(config("a", b"1")))
    old_view = s.view()
    old = old_view.configs.get("id-a")
    await s.update(lambda tx: tx.update(replace(old, spec=replace(old.spec, data=b"2"))))
    with pytest.raises(StaleVersionError, match="is at version 2"):
        await s.update(lambda tx: tx.update(replace(old, spec=replace(old.spec, data=b"3"))))
    assert old_view.configs.get("id-a").spec.data == b"1"
    assert s.view().configs.get("id-a").spec.data == b"2"


async def test_ids_and_unique_names_are_taken_once_and_names_are_case_sensitive() -> None:
    s = store()
    await s.update(lambda tx: tx.create(config("a")))
    with pytest.raises(AlreadyExistsError, match="config id-a already exists"):
        await s.update(lambda tx: tx.create(config("a")))
    with pytest.raises(AlreadyExistsError, match="config a already exists; choose another name"):
        await s.update(lambda tx: tx.create(replace(config("a"), id="other")))
    await s.update(lambda tx: tx.create(replace(config("A"), id="upper")))
    await s.update(
        lambda tx: tx.create(Secret(id="s", spec=replace(Secret(id="x").spec, annotations=Annotations(name="a"))))
    )
    for id_ in ("n1", "n2"):
        await s.update(lambda tx, id_=id_: tx.create(Node(id=id_, description=NodeDescription(hostname="same"))))
    with pytest.raises(ConflictError, match="2 have this name; use an id: n1, n2$"):
        s.view().nodes.find("same")


async def test_names_may_be_swapped_within_one_transaction() -> None:
    s = store()
    for name in "ab":
        await s.update(lambda tx, name=name: tx.create(config(name)))

    def rename(tx: Tx, id_: str, name: str) -> None:
        item = tx.configs.get(id_)
        tx.update(replace(item, spec=replace(item.spec, annotations=Annotations(name=name))))

    def swap(tx: Tx) -> None:
        rename(tx, "id-a", "c")
        rename(tx, "id-b", "a")
        rename(tx, "id-a", "b")

    await s.update(swap)
    assert s.view().configs.by_name("a").id == "id-b"
    assert s.view().configs.by_name("b").id == "id-a"
    assert s.view().configs.by_name("c") is None


async def test_a_transaction_shows_its_own_changes_and_holds_one_for_each_object() -> None:
    s = store()
    await s.update(lambda tx: tx.create(config("kept")))

    def apply(tx: Tx) -> None:
        tx.create(config("new"))
        assert tx.configs.by_name("new") is not None
        tx.update(config("new", b"later"))
        tx.create(config("gone"))
        tx.remove(Config, "id-gone")
        kept = tx.configs.get("id-kept")
        tx.update(replace(kept, spec=replace(kept.spec, data=b"x")))
        tx.remove(Config, "id-kept")
        assert len(tx.configs) == 1
        with pytest.raises(ConflictError, match="was removed in this transaction"):
            tx.create(config("kept"))

    with s.watch() as (view, commits):
        await s.update(apply)
        commit = await anext(commits)
    assert [(c.action, c.item.id) for c in commit.changes] == [(Action.CREATE, "id-new"), (Action.REMOVE, "id-kept")]
    assert commit.changes[0].after.spec.data == b"later"
    assert commit.changes[1].before == view.configs.get("id-kept")
    assert [c.id for c in s.view().configs] == ["id-new"]


async def test_a_transaction_that_raises_changes_nothing() -> None:
    s = store()

    def apply(tx: Tx) -> None:
        tx.create(config("a"))
        tx.remove(Config, "absent")

    with pytest.raises(NotFoundError, match="config absent not found"):
        await s.update(apply)
    assert len(s.view().configs) == 0


async def test_transactions_are_bounded_and_batch_splits() -> None:
    s = store()

    def many(tx: Tx) -> None:
        for number in range(127):
            tx.create(config(str(number)))

    with pytest.raises(TooLargeError, match="at most 126 changes"):
        await s.update(many)
    with pytest.raises(TooLargeError, match="exceeds the limit"):
        await s.update(lambda tx: [tx.create(config(str(n), bytes(1 << 19))) for n in range(4)])
    with s.watch() as (_, commits):
        refused = await s.batch([lambda tx, n=n: tx.create(config(str(n))) for n in range(300)])
        sizes = [len((await anext(commits)).changes) for _ in range(3)]
    assert refused == ()
    assert sizes == [126, 126, 48]
    refused = await s.batch([lambda tx, n=n: tx.create(config(f"big{n}", bytes(1 << 19))) for n in range(10)])
    assert refused == ()
    assert len(s.view().configs) == 310


async def test_batch_skips_outdated_operations_as_a_whole() -> None:
    s = store()
    await s.update(lambda tx: tx.create(config("taken")))

    def half(tx: Tx) -> None:
        tx.create(config("half"))
        tx.create(config("taken"))

    refused = await s.batch([lambda tx: tx.create(config("one")), half, lambda tx: tx.create(config("two"))])
    assert [(r.operation, type(r.error)) for r in refused] == [(half, AlreadyExistsError)]
    assert {c.spec.annotations.name for c in s.view().configs} == {"taken", "one", "two"}


async def test_a_follower_refuses_and_names_the_leader() -> None:
    s = store()
    s.consensus.lead(leading=False)
    with pytest.raises(NotLeaderError) as refused:
        await s.update(lambda tx: tx.create(config("a")))
    assert refused.value.leader_addr == "127.0.0.2:2378"


async def test_independent_transactions_are_pending_together() -> None:
    s = Store(HeldConsensus)
    async with asyncio.TaskGroup() as tasks:
        for number in range(50):
            tasks.create_task(s.update(lambda tx, n=number: tx.create(config(str(n)))))
        await settle()
        assert len(s.consensus.waiting) == 50
        await s.consensus.commit()
    assert len(s.view().configs) == 50


async def test_a_transaction_without_changes_waits_for_a_pending_one_that_changes_what_it_read() -> None:
    """1. A node's session ends; that it is disconnected is on its way. 2. The node is back: it is ready as far as anybody can see, so nothing is
    written. 3. The first write arrives, and the node is disconnected for ever.
    """
    s = Store(HeldConsensus)
    held = s.consensus
    assert isinstance(held, HeldConsensus)
    async with asyncio.TaskGroup() as group:
        group.create_task(s.update(lambda tx: tx.create(config("state", b"ready"))))
        await settle()
        await held.commit()

    def become(data: bytes):
        def apply(tx: Tx) -> None:
            known = tx.configs.get("id-state")
            assert known is not None
            if known.spec.data != data:
                tx.update(replace(known, spec=replace(known.spec, data=data)))

        return apply

    async with asyncio.TaskGroup() as group:
        group.create_task(s.update(become(b"disconnected")))
        await settle()
        back = group.create_task(s.update(become(b"ready")))
        await settle()
        assert not back.done()
        while not back.done():
            await held.commit()
            await settle()
    assert s.view().configs.get("id-state").spec.data == b"ready"


async def test_a_transaction_waits_for_a_pending_one_that_changes_what_it_read_and_runs_again() -> None:
    s = Store(HeldConsensus)
    first = asyncio.ensure_future(s.update(lambda tx: tx.create(config("a", b"0"))))
    await settle()
    await s.consensus.commit()
    await first

    def increment(tx: Tx) -> None:
        item = tx.configs.get("id-a")
        tx.update(replace(item, spec=replace(item.spec, data=b"%d" % (int(item.spec.data) + 1))))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(10):
            tasks.create_task(s.update(increment))
        for _ in range(100):
            await settle()
            assert len(s.consensus.waiting) <= 1
            await s.consensus.commit()
            if s.view().configs.get("id-a").spec.data == b"10":
                break
    assert s.view().configs.get("id-a").spec.data == b"10"


async def test_a_check_by_index_still_holds_when_the_transaction_takes_effect() -> None:
    """A config is removed "if no task uses it" while a task that uses it is on its way: both must not succeed."""
    s = Store(HeldConsensus)
    user = Service(id="s", spec=ServiceSpec(annotations=Annotations(name="s"), task=uses("id-a")))
    first = asyncio.ensure_future(s.update(lambda tx: tx.create(config("a"))))
    await settle()
    await s.consensus.commit()
    await first

    def create_user(tx: Tx) -> None:
        assert tx.configs.get("id-a")
        tx.create(user)

    def remove_unused(tx: Tx) -> None:
        if tx.services.by_config("id-a"):
            raise ConflictError("in use")
        tx.remove(Config, "id-a")

    creating = asyncio.ensure_future(s.update(create_user))
    await settle()
    removing = asyncio.ensure_future(s.update(remove_unused))
    await settle()
    assert len(s.consensus.waiting) == 1
    await s.consensus.commit()
    await creating
    with pytest.raises(ConflictError, match="in use"):
        await removing


def uses(config_id: str) -> TaskSpec:
    return TaskSpec(container=ContainerSpec(configs=(ConfigReference(config_id=config_id),)))


async def test_a_transaction_that_always_conflicts_gets_the_store_alone() -> None:
    """One transaction reads the whole table, which is created into without end."""
    s = Store(HeldConsensus)
    done = asyncio.Event()

    async def creator(number: int) -> None:
        count = 0
        while not done.is_set():
            count += 1
            await s.update(lambda tx, name=f"{number}-{count}": tx.create(config(name)))

    def count(tx: Tx) -> int:
        tx.create(Network(id="sum", spec=NetworkSpec(annotations=Annotations(name="sum"))))
        return len(tx.configs)

    async def counting() -> int:
        try:
            return await s.update(count)
        finally:
            done.set()

    async def committing() -> None:
        while not done.is_set() or s.consensus.waiting:
            await s.consensus.commit()

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(creator(number))
        counted = tasks.create_task(counting())
        tasks.create_task(committing())
    assert counted.result() > 0


async def test_a_write_with_an_unknown_outcome_blocks_conflicting_ones_until_it_is_known() -> None:
    s = Store(HeldConsensus)
    first = asyncio.ensure_future(s.update(lambda tx: tx.create(config("a"))))
    await settle()
    data, answer = s.consensus.waiting.pop()
    answer.set_exception(DeadlineError("late"))
    with pytest.raises(DeadlineError):
        await first
    second = asyncio.ensure_future(s.update(lambda tx: tx.create(config("a"))))
    await settle()
    assert not s.consensus.waiting
    s.consensus._machine.apply(5, data)  # it was committed after all
    with pytest.raises(AlreadyExistsError):
        await second


async def test_losing_leadership_fails_the_write_and_frees_its_objects() -> None:
    s = Store(HeldConsensus)
    first = asyncio.ensure_future(s.update(lambda tx: tx.create(config("a"))))
    await settle()
    await s.consensus.lose(NotLeaderError("elsewhere:1"))
    with pytest.raises(NotLeaderError, match="elsewhere"):
        await first
    second = asyncio.ensure_future(s.update(lambda tx: tx.create(config("a"))))
    await settle()
    await s.consensus.commit()
    await second


async def test_an_entry_with_an_outdated_version_changes_nothing_on_any_replica() -> None:
    """Two leaders' entries in one log: the second was made from a view that the first had changed."""
    leader, replica = store(), store()
    await leader.update(lambda tx: tx.create(config("a", b"1")))
    entries: list[bytes] = []
    other = Store(HeldConsensus)
    other._view = leader.view()
    item = other.view().configs.get("id-a")
    late = asyncio.ensure_future(
        other.update(lambda tx: tx.update(replace(item, spec=replace(item.spec, data=b"late"))))
    )
    await settle()
    entries.append(other.consensus.waiting[0][0])
    late.cancel()
    await leader.update(lambda tx: tx.update(replace(item, spec=replace(item.spec, data=b"2"))))
    before = leader.view()
    leader._apply(10, entries[0])
    assert leader.view() is before
    replica._view = before
    replica._apply(10, entries[0])
    assert replica.view() is before


async def test_objects_are_found_by_id_name_or_the_beginning_of_an_id() -> None:
    s = store()
    for name, id_ in (("web", "abc1"), ("abc2", "xyz"), ("db", "abc2")):
        await s.update(lambda tx, n=name, i=id_: tx.create(replace(config(n), id=i)))
    configs = s.view().configs
    assert configs.find("abc2").spec.annotations.name == "db", "an exact id goes before a name"
    assert configs.find("web").id == "abc1"
    assert configs.find("xy").id == "xyz"
    with pytest.raises(ConflictError, match="config ab is ambiguous: 2 ids"):
        configs.find("ab")
    for ref in ("nothing", ""):
        with pytest.raises(NotFoundError, match="not found"):
            configs.find(ref)


async def test_nodes_are_found_by_role() -> None:
    s = store()
    await s.update(lambda tx: tx.create(Node(id="m", role=NodeRole.MANAGER)))
    await s.update(lambda tx: tx.create(Node(id="w")))
    assert [n.id for n in s.view().nodes.by_role(NodeRole.MANAGER)] == ["m"]
    node = s.view().nodes.get("m")
    await s.update(lambda tx: tx.update(replace(node, role=NodeRole.WORKER)))
    assert [n.id for n in s.view().nodes.by_role(NodeRole.WORKER)] == ["m", "w"]
    assert s.view().nodes.by_role(NodeRole.MANAGER) == ()


async def test_tasks_share_their_service_s_spec_on_every_replica() -> None:
    s = store()
    service = Service(id="s", spec=ServiceSpec(annotations=Annotations(name="s"), task=uses("c")))
    await s.update(lambda tx: tx.create(service))
    for slot in range(3):
        await s.update(lambda tx, n=slot: tx.create(Task(id=f"t{n}", service_id="s", slot=n, spec=uses("c"))))
    held = s.view().services.get("s").spec.task
    assert all(task.spec is held for task in s.view().tasks)
    again = store()
    again.consensus._machine.decode(9, snapshot.encode(s.view(), ()))()
    assert all(task.spec is again.view().services.get("s").spec.task for task in again.view().tasks)


async def test_a_name_that_was_taken_meanwhile_is_refused_on_every_replica() -> None:
    proposer, replica = Store(HeldConsensus), store()
    late = asyncio.ensure_future(proposer.update(lambda tx: tx.create(config("a"))))
    await settle()
    data = proposer.consensus.waiting[0][0]
    late.cancel()
    await replica.update(lambda tx: tx.create(replace(config("a"), id="earlier")))
    before = replica.view()
    replica._apply(10, data)
    assert replica.view() is before


@pytest.mark.parametrize(
    "on_duty",
    [
        lambda tx: [item for item in tx.configs if item.spec.data == b"on"],
        lambda tx: [item for item in (tx.configs.by_name("a"), tx.configs.by_name("b")) if item.spec.data == b"on"],
    ],
    ids=["all of them", "by an index"],
)
async def test_a_check_of_many_objects_still_holds_when_the_transaction_takes_effect(on_duty: Callable) -> None:
    """Two are on duty; each may leave "if another one stays". Both at once must not, though each changes only itself."""
    s = Store(HeldConsensus)
    created = asyncio.ensure_future(s.update(lambda tx: [tx.create(config(name, b"on")) for name in ("a", "b")]))
    await settle()
    await s.consensus.commit()
    await created

    def leave(name: str) -> Callable[[Tx], None]:
        def apply(tx: Tx) -> None:
            if len(on_duty(tx)) < 2:
                raise ConflictError("nobody would stay")
            item = tx.configs.get(f"id-{name}")
            tx.update(replace(item, spec=replace(item.spec, data=b"off")))

        return apply

    both = [asyncio.ensure_future(s.update(leave(name))) for name in ("a", "b")]
    for _ in range(10):
        await settle()
        await s.consensus.commit()
    results = await asyncio.gather(*both, return_exceptions=True)
    assert [type(result) for result in results].count(ConflictError) == 1
    assert len(on_duty(s.view())) == 1
