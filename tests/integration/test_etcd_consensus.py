"""Managers on a real etcd: elections, fences, lost answers, broken watches, compaction, dead members.

Each test has a prefix of its own; those that harm etcd have an etcd of their own.
"""

import asyncio
import math
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from covey.errors import ConflictError, CoveyError, DeadlineError, LaggedError, UnavailableError
from covey.objects import MAX_CONFIG_BYTES, Annotations, Cluster, Config, ConfigSpec, Node
from manager.etcd import bootstrap, target
from manager.etcd.client import EtcdClient
from manager.etcd.encryption import ValueCipher
from manager.etcd.transactions import etcd_transaction, with_fence
from manager.etcd.watch_stream import WatchStream
from manager.store import NotLeaderError, log
from manager.store.commit import Action, Change
from manager.store.consensus import OutcomeUnknownError, RemovedError
from tests.support.etcd_server import EtcdCluster, etcd_cluster
from tests.support.etcd_stores import EtcdStoreGroup, EtcdStoreNode, etcd_store_group, eventually, tcp_relays

pytestmark = pytest.mark.timeout(120)

LEASE_SECONDS = 2.0


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdCluster]:
    """Shared by tests that leave it as it is."""
    with etcd_cluster(1) as one:
        yield one


def config(name: str, data: bytes = b"") -> Config:
    return Config(id=f"id-{name}", spec=ConfigSpec(annotations=Annotations(name=name), data=data))


async def agree(world: EtcdStoreGroup, *names: str) -> None:
    for seat in world.nodes:
        if not seat.task.done():
            await eventually(f"{seat.node_id} has {names}", lambda seat=seat: set(names) <= seat.names())


async def test_one_manager_leads_and_all_see_its_writes(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd, 3) as world:
        leader = await world.wait_leader()
        await leader.create("a", b"1")
        await agree(world, "a")
        followers = [seat for seat in world.nodes if seat is not leader]
        own = leader.store.view().configs.by_name("a")
        assert all(seat.store.view().configs.by_name("a") == own for seat in world.nodes), "meta is the same everywhere"
        for seat in followers:
            assert seat.consensus.leadership.leader_addr == f"{leader.node_id}:2378"
            assert seat.consensus.leadership.term == leader.consensus.leadership.term
            with pytest.raises(NotLeaderError) as refused:
                await seat.create("b")
            assert refused.value.leader_addr == f"{leader.node_id}:2378"
        members = followers[0].consensus.members()
        assert [(m.node_id, m.addr, m.reachable) for m in members] == [(f"m{n}", f"m{n}:2378", True) for n in (1, 2, 3)]


async def test_a_leader_that_stops_is_replaced_at_once_and_one_that_crashes_after_its_lease(
    etcd: EtcdCluster,
) -> None:
    async with etcd_store_group(etcd, 3) as world:
        loop = asyncio.get_running_loop()
        first = await world.wait_leader()
        term, began = first.consensus.leadership.term, loop.time()
        await first.close()
        second = await world.wait_leader(but=first)
        assert loop.time() - began < LEASE_SECONDS / 2
        assert second.consensus.leadership.term > term
        began = loop.time()
        await second.crash()
        third = await world.wait_leader(but=second, seconds=10)
        assert loop.time() - began < 3 * LEASE_SECONDS
        await third.create("after")
        members = {m.node_id: m.reachable for m in third.consensus.members()}
        assert members == {first.node_id: False, second.node_id: False, third.node_id: True}


async def test_a_leader_that_stops_during_writes_reports_their_outcomes_and_stops_soon(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd) as world:
        leader = await world.wait_leader()
        writing = [asyncio.create_task(leader.create(f"w{number}")) for number in range(60)]
        while not leader.names():  # noqa: ASYNC110 - amid them
            await asyncio.sleep(0)
        began = asyncio.get_running_loop().time()
        await leader.close()
        assert asyncio.get_running_loop().time() - began < 2 * LEASE_SECONDS
        told = await asyncio.gather(*writing, return_exceptions=True)
        assert not [error for error in told if isinstance(error, DeadlineError)]
        done = {f"w{number}" for number, error in enumerate(told) if error is None}
        second = await world.add_node("m2")
        assert second.names() == done


async def test_a_leader_that_stops_while_its_watch_hangs_stops_soon(
    etcd: EtcdCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with etcd_store_group(etcd) as world:
        leader = await world.wait_leader()
        monkeypatch.setattr(leader.consensus._follower, "_apply", lambda *_: None)
        writing = asyncio.create_task(leader.create("a"))
        await asyncio.sleep(0.2)
        began = asyncio.get_running_loop().time()
        await leader.close()
        assert asyncio.get_running_loop().time() - began < 2 * LEASE_SECONDS
        with pytest.raises(OutcomeUnknownError):
            await writing


async def test_a_deposed_leader_writes_nothing(etcd: EtcdCluster) -> None:
    """1. A leads and makes a transaction. 2. Before it is sent A loses leadership and B writes. 3. A sends: etcd refuses it by the fence."""
    async with etcd_store_group(etcd, 2) as world:
        old = await world.wait_leader()
        leadership = old.consensus._own_leadership.require_leading()
        late = log.encode(7, [Change(Action.CREATE, None, config("late"))], 1)
        await old.consensus.transfer_leadership([seat.node_id for seat in world.nodes])
        new = await world.wait_leader(but=old)
        await new.create("new")
        cipher = ValueCipher(world.key, world.cluster_id)
        answer = await old.client.txn(with_fence(etcd_transaction(world.keys, cipher, late), world.keys, leadership))
        assert not answer.succeeded
        await new.consensus.read_index()
        assert new.names() == {"new"}


async def test_a_transaction_from_an_older_version_is_refused_by_etcd(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd) as world:
        leader = await world.wait_leader()
        await leader.create("a", b"0")
        old = leader.store.view().configs.by_name("a")
        await leader.add("a")
        cipher = ValueCipher(world.key, world.cluster_id)
        for change in (
            Change(Action.UPDATE, old, config("a", b"stale")),
            Change(Action.REMOVE, old, None),
            Change(Action.CREATE, None, config("a", b"again")),
        ):
            late = etcd_transaction(world.keys, cipher, log.encode(7, [change], 1))
            answer = await leader.client.txn(
                with_fence(late, world.keys, leader.consensus._own_leadership.require_leading())
            )
            assert not answer.succeeded, change
        await leader.add("a")
        assert leader.value("a") == b"2"


async def test_a_foreign_change_of_objects_in_etcd_is_seen_by_all_in_a_new_term(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd, 2) as world:
        leader = await world.wait_leader()
        term = leader.consensus.leadership.term
        await leader.create("a")
        await leader.create("b")
        await agree(world, "a", "b")
        etcd.ctl("del", f"{world.prefix}/objects/config/id-a")
        for seat in world.nodes:
            await eventually("it is gone", lambda seat=seat: seat.names() == {"b"})
        leader = await world.wait_leader()
        assert leader.consensus.leadership.term > term
        await leader.create("a")
        await agree(world, "a", "b")


async def test_a_lost_answer_is_settled_and_nothing_is_done_twice(etcd: EtcdCluster) -> None:
    """Requests reach etcd, answers do not come back: the write took effect, or did not, and its proposer must not guess."""
    async with tcp_relays(etcd) as [relay], etcd_store_group(etcd) as world:
        await world.nodes[0].close()
        seat = await world.add_node("m2", store=f"etcd://{relay.endpoint}{world.prefix}", ready=False)
        await world.wait_leader(but=world.nodes[0])
        await seat.create("count", b"0")
        for _ in range(5):
            async with asyncio.TaskGroup() as tasks:
                adding = tasks.create_task(seat.add("count"))
                await asyncio.sleep(0)
                relay.answers.clear()
                await asyncio.sleep(0.05)
                relay.cut()
                relay.answers.set()
            assert adding.exception() is None
        assert seat.value("count") == b"5"


async def test_a_write_is_not_dropped_because_no_leader_is_known_during_a_reload(
    etcd: EtcdCluster,
) -> None:
    async with etcd_store_group(etcd) as world:
        consensus = (await world.wait_leader()).consensus
        follower, leadership = consensus._follower, consensus._own_leadership
        leader = leadership.require_leading()
        follower.fresh, follower.group_state.leader = False, None  # as amid a reading
        leadership.end_term(leader.term)
        clearing = asyncio.create_task(consensus._proposals._settle_lost_write(leader, asyncio.Future()))
        await asyncio.sleep(0.1)
        assert not clearing.done()
        follower._watch.interrupt()
        await asyncio.wait_for(clearing, 10)


async def test_a_write_is_awaited_from_the_moment_it_is_proposed(etcd: EtcdCluster) -> None:
    """What is read again between the proposal and its first turn would else leave it waiting for an answer that cannot come."""
    async with etcd_store_group(etcd) as world:
        leader = await world.wait_leader()
        data = log.encode(7, [Change(Action.CREATE, None, config("a"))], 1)
        writing = asyncio.create_task(leader.consensus.propose(data))
        await asyncio.sleep(0)
        assert 7 in leader.consensus._follower._awaited
        await writing
        await asyncio.sleep(0)
        assert not leader.consensus._follower._awaited


async def test_concurrent_counters_lose_no_update_while_connections_break(etcd: EtcdCluster) -> None:
    async with tcp_relays(etcd) as [relay], etcd_store_group(etcd) as world:
        await world.nodes[0].close()
        seat = await world.add_node("m2", store=f"etcd://{relay.endpoint}{world.prefix}", ready=False)
        await world.wait_leader(but=world.nodes[0])
        for name in "abc":
            await seat.create(name, b"0")
        done = asyncio.Event()
        counted = dict.fromkeys("abc", 0)

        async def count(name: str) -> None:
            for _ in range(25):
                await seat.add(name)
                counted[name] += 1

        async def breaking() -> None:
            while not done.is_set():
                await asyncio.sleep(0.15)
                relay.cut()

        async with asyncio.TaskGroup() as tasks:
            breaker = tasks.create_task(breaking())
            counters = [tasks.create_task(count(name)) for name in "abc"]
            await asyncio.wait(counters)
            done.set()
            await breaker
        assert {name: int(seat.value(name)) for name in "abc"} == counted == dict.fromkeys("abc", 25)


async def test_a_broken_watch_continues_where_it_stopped(etcd: EtcdCluster) -> None:
    async with tcp_relays(etcd) as [relay], etcd_store_group(etcd) as world:
        leader = await world.wait_leader()
        seat = await world.add_node("m2", store=f"etcd://{relay.endpoint}{world.prefix}")
        with seat.store.watch() as (_, commits):
            for number in range(30):
                if number % 10 == 5:
                    relay.cut()
                await leader.create(f"c{number}")
            seen = [(await asyncio.wait_for(anext(commits), 10)).changes[0].item.id for _ in range(30)]
        assert seen == [f"id-c{number}" for number in range(30)]


@pytest.mark.parametrize("rests", [False, True])
async def test_a_watch_that_hangs_while_no_manager_leads_is_opened_again(
    etcd: EtcdCluster, monkeypatch: pytest.MonkeyPatch, rests: bool
) -> None:
    """1. The leader goes. 2. A follower hears that, and of nothing more. 3. Another leads and writes."""
    async with etcd_store_group(etcd, 3) as world:
        old = await world.wait_leader()
        victim, other = [seat for seat in world.nodes if seat is not old]
        follower, election = victim.consensus._follower, victim.consensus._election
        still, real = [], WatchStream.read

        async def read(watch: WatchStream, call: Any, seconds: float | None = None) -> Any:
            if watch is follower._watch and follower.group_state.leader is None and still in ([], [call]):
                still[:] = [call]
                return await real(watch, Silence(), seconds)
            return await real(watch, call, seconds)

        monkeypatch.setattr(WatchStream, "read", read)
        election._no_campaign_until = math.inf  # the other one wins
        await old.crash()
        await eventually("the other one leads", lambda: other.is_leader)
        if not rests:
            election._no_campaign_until = 0.0
        await other.create("x")
        await eventually("the watch is left", lambda: "x" in victim.names(), 8)
        assert still, "it did stand still"


class Silence:
    """A stream that brings nothing."""

    async def read(self) -> Any:
        await asyncio.Event().wait()


async def test_compaction_during_a_broken_watch_reloads_everything(etcd: EtcdCluster) -> None:
    async with tcp_relays(etcd) as [relay], etcd_store_group(etcd) as world:
        leader = await world.wait_leader()
        await leader.create("before")
        await leader.create("gone")
        seat = await world.add_node("m2", store=f"etcd://{relay.endpoint}{world.prefix}")
        with seat.store.watch() as (_, commits):
            relay.refuses = True
            relay.cut()
            await leader.create("after")
            await leader.store.update(lambda tx: tx.remove(Config, "id-gone"))
            etcd.ctl("compact", str(leader.store.view().version))
            relay.refuses = False
            with pytest.raises(LaggedError):
                await asyncio.wait_for(anext(commits), 20)
        await eventually("the state is whole again", lambda: seat.fresh and seat.names() == leader.names())
        assert {"before", "after"} <= seat.names()
        assert "gone" not in seat.names()
        await leader.create("later")
        await agree(world, "later")
        assert list(seat.store.view().configs) == list(leader.store.view().configs)


async def test_a_leader_whose_watch_was_compacted_away_leads_in_a_new_term(etcd: EtcdCluster) -> None:
    """What it had in flight then, nobody can tell from the state; a new term settles it."""
    async with etcd_store_group(etcd) as world:
        leader = await world.wait_leader()
        await leader.create("a")
        term = leader.consensus.leadership.term
        leader.consensus._follower.applied = 1  # as if it had stood still since the cluster was founded
        etcd.ctl("compact", str(leader.store.view().version))
        leader.client.leave_endpoint(leader.client.endpoint, "a test breaks the watch")
        await eventually("it leads again", lambda: leader.is_leader and leader.consensus.leadership.term > term)
        await leader.create("b")
        assert leader.names() == {"a", "b"}


async def test_the_largest_objects_and_transactions_fit(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd, 2) as world:
        leader = await world.wait_leader()
        big = secrets.token_bytes(1_400_000)
        await leader.create("big", big)
        refused = await leader.store.batch(
            [lambda tx, n=n: tx.create(config(f"c{n}", b"x" * 1000)) for n in range(300)]
        )
        assert refused == ()
        with leader.store.watch() as (_, commits):
            await leader.store.update(
                lambda tx: [tx.create(config(f"{'long' * 12}-{n}", bytes(11_000))) for n in range(126)]
            )
            assert len((await anext(commits)).changes) == 126
        other = next(seat for seat in world.nodes if seat is not leader)
        await other.consensus.read_index()
        assert other.value("big") == big
        late = await world.add_node("m3")
        assert late.value("big") == big
        assert late.names() == leader.names()


async def test_large_objects_are_read_in_smaller_pages() -> None:
    """The first page is of small objects, so the next is asked for with so many keys that it is over what the client takes."""
    with etcd_cluster(1) as own:
        async with etcd_store_group(own) as world:
            leader = await world.wait_leader()
            data = secrets.token_bytes(MAX_CONFIG_BYTES)
            for number in range(40):
                await leader.create(f"a{number}", b"small")
            for number in range(70):
                await leader.create(f"b{number}", data)
            second = await world.add_node("m2")
            assert second.names() == leader.names()
            assert len(second.names()) == 110


async def test_a_fresh_read_sees_every_earlier_acknowledged_write(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd, 2) as world:
        leader = await world.wait_leader()
        other = next(seat for seat in world.nodes if seat is not leader)
        await leader.create("count", b"0")
        for number in range(50):
            await leader.add("count")
            await other.consensus.read_index()
            assert other.value("count") == b"%d" % (number + 1)


async def test_objects_in_etcd_are_encrypted(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd) as world:
        leader = await world.wait_leader()
        await leader.create("open", b"hunter2-and-more")
        written = etcd.ctl("get", "--prefix", world.prefix, "--write-out=json", "--hex")
        assert etcd.ctl("get", "--prefix", f"{world.prefix}/objects/config", "--keys-only").strip().endswith("/id-open")
        everything = etcd.ctl("get", "--prefix", world.prefix, "--print-value-only")
        assert "hunter2" not in everything
        assert "hunter2" not in written


async def test_a_second_founder_is_refused_with_the_name_of_the_cluster(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd) as world:
        client = EtcdClient(world.etcd_target(""))
        cipher = ValueCipher(world.key, "other")
        with pytest.raises(
            CoveyError, match=f"already holds cluster {world.cluster_id}: join it with a token, or choose"
        ):
            await bootstrap.create_cluster(client, cipher, Cluster(id="other"), Node(id="x"), "x:1")
        await client.close()
        assert await eventually("it goes on", world.leader)


@pytest.mark.parametrize("within", ["", "/deeper"])
async def test_no_cluster_is_created_within_the_prefix_of_another(etcd: EtcdCluster, within: str) -> None:
    """Under PREFIX/objects its keys would be the other's objects, which no manager could read; and who gives up the other deletes both."""
    async with etcd_store_group(etcd) as world:
        client = EtcdClient(target.parse(etcd.store(f"{world.prefix}/objects{within}")))
        try:
            with pytest.raises(ConflictError, match=f"lies within {world.prefix}, which is the prefix of cluster c-"):
                await bootstrap.create_cluster(
                    client, ValueCipher(world.key, "c2"), Cluster(id="c2"), Node(id="m1"), "m1:2378"
                )
        finally:
            await client.close()
        leader = await world.wait_leader()
        await leader.create("a")


async def test_a_manager_of_another_cluster_stops_with_an_error(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd) as world:
        stranger = EtcdStoreGroup(etcd)
        stranger.prefix, stranger.keys = world.prefix, world.keys
        seat = EtcdStoreNode(stranger, "m9", "")
        with pytest.raises(BaseExceptionGroup) as ended:
            await asyncio.wait_for(seat.task, 10)
        assert ended.group_contains(
            CoveyError,
            match=f"holds cluster {world.cluster_id}, and this node belongs to cluster {stranger.cluster_id}",
        )


async def test_a_removed_member_stops_and_cannot_return_by_itself(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd, 3) as world:
        leader = await world.wait_leader()
        gone = next(seat for seat in world.nodes if seat is not leader)
        await leader.consensus.remove_members([gone.node_id])
        with pytest.raises(BaseExceptionGroup) as ended:
            await asyncio.wait_for(gone.task, 10)
        assert ended.group_contains(RemovedError)
        assert gone.node_id not in {m.node_id for m in leader.consensus.members()}
        again = EtcdStoreNode(world, gone.node_id, "")
        with pytest.raises(BaseExceptionGroup) as ended:
            await asyncio.wait_for(again.task, 10)
        assert ended.group_contains(RemovedError)


async def test_leadership_goes_to_the_named_successor(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd, 3) as world:
        leader = await world.wait_leader()
        for heir in [seat for seat in world.nodes if seat is not leader]:
            now = await world.wait_leader()
            if now is heir:
                continue
            await now.consensus.transfer_leadership([heir.node_id])
            assert (await world.wait_leader(but=now)) is heir
        with pytest.raises(UnavailableError, match="no other manager is running"):
            await (await world.wait_leader()).consensus.transfer_leadership([])


async def test_a_disconnected_leader_stops_leading_before_its_lease_ends_and_says_why() -> None:
    with etcd_cluster(1) as etcd:
        async with etcd_store_group(etcd) as world:
            [seat] = world.nodes
            await world.wait_leader()
            await seat.create("a")
            loop = asyncio.get_running_loop()
            etcd.pause(etcd.members[0])
            began = loop.time()
            await eventually("it leads no more", lambda: not seat.is_leader, 10)
            assert loop.time() - began <= LEASE_SECONDS
            with pytest.raises(NotLeaderError):
                await seat.create("b")
            with pytest.raises(DeadlineError, match="etcd confirmed no read within 5 s: etcd at .* does not answer"):
                await seat.consensus.read_index()
            assert "does not answer" in seat.consensus.unavailable_reason
            etcd.resume(etcd.members[0])
            await world.wait_leader()
            await seat.create("b")
            assert seat.names() == {"a", "b"}
            assert seat.consensus.unavailable_reason == ""


async def test_writes_continue_while_members_of_etcd_hang_or_crash_one_by_one() -> None:
    """With TLS, as it should be run."""
    with etcd_cluster(3, tls=True) as etcd:
        async with etcd_store_group(etcd, 2) as world:
            count = 0
            for number, harm, heal in (
                (0, etcd.pause, etcd.resume),
                (1, etcd.kill, etcd.start),
                (2, etcd.pause, etcd.resume),
            ):
                harm(etcd.members[number])
                try:
                    for _ in range(3):
                        await written(world, f"c{count}")
                        count += 1
                finally:
                    heal(etcd.members[number])
            for seat in world.nodes:
                await seat.consensus.read_index()
                assert {f"c{number}" for number in range(count)} <= seat.names()


async def written(world: EtcdStoreGroup, name: str, seconds: float = 30.0) -> None:
    """A write as a client repeats it: until it is there."""
    async with asyncio.timeout(seconds):
        while True:
            leader = await world.wait_leader(seconds=seconds)
            try:
                await leader.create(name)
            except CoveyError:
                await asyncio.sleep(0.05)
                if name in leader.names():
                    return
            else:
                return


async def test_a_full_etcd_refuses_writes_and_executed_ones_are_reported_as_done() -> None:
    """1. Many writes come at once. 2. etcd lets them in, for none of them alone is too much. 3. It carries them out, and answers all that
    came after its quota was passed as refused.
    """
    with etcd_cluster(1, options=("--quota-backend-bytes=8388608",)) as etcd:
        async with etcd_store_group(etcd) as world:
            leader = await world.wait_leader()
            done: set[str] = set()
            refused: list[str] = []
            for wave in range(10):
                names = [f"w{wave}-{number}" for number in range(40)]
                writes = [leader.create(name, bytes(400_000)) for name in names]
                told = await asyncio.gather(*writes, return_exceptions=True)
                done |= {name for name, error in zip(names, told, strict=True) if error is None}
                refused += [str(error) for error in told if error is not None]
                if refused:
                    break
            await leader.consensus.read_index()
            assert done == leader.names()
            assert refused
            assert all("its database is full" in one for one in refused)


async def test_a_leader_on_a_full_etcd_keeps_leading_after_a_cancelled_write() -> None:
    """Who gave the leader's key away could not have it again: a full etcd deletes, and refuses every put."""
    with etcd_cluster(1, options=("--quota-backend-bytes=8388608",)) as etcd:
        async with etcd_store_group(etcd) as world:
            leader = await world.wait_leader()
            await fill(leader)
            assert "its database is full" in leader.consensus.unavailable_reason
            term = leader.consensus.leadership.term
            writing = asyncio.create_task(leader.create("gone"))
            while not leader.consensus._follower._awaited:  # noqa: ASYNC110 - at the first moment, it is refused soon
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            assert writing.cancelled()
            await eventually("etcd refused it", lambda: not leader.consensus._follower._awaited)
            await asyncio.sleep(LEASE_SECONDS)
            assert leader.is_leader
            assert leader.consensus.leadership.term == term
            with pytest.raises(UnavailableError, match="its database is full"):
                async with asyncio.timeout(LEASE_SECONDS):
                    await leader.create("gone")  # it is not in its own way


async def fill(leader: EtcdStoreNode) -> None:
    for number in range(40):
        try:
            await leader.create(f"filler-{number}", secrets.token_bytes(900_000))
        except UnavailableError:
            return
    raise AssertionError("etcd takes more than its quota")


async def test_an_etcd_with_client_certificates_refuses_a_manager_without_one() -> None:
    with etcd_cluster(1, tls=True) as etcd:
        world = EtcdStoreGroup(etcd)
        plain = etcd.store(world.prefix)
        etcd.tls, tls = None, etcd.tls
        client = EtcdClient(world.etcd_target(plain))
        founding_seconds, bootstrap.BOOTSTRAP_SECONDS = bootstrap.BOOTSTRAP_SECONDS, 2.0
        try:
            with pytest.raises(DeadlineError, match="did not answer within 2 s: etcd at 127.0.0.1:"):
                await bootstrap.create_cluster(
                    client, ValueCipher(world.key, "c"), Cluster(id="c"), Node(id="x"), "x:1"
                )
        finally:
            bootstrap.BOOTSTRAP_SECONDS = founding_seconds
            etcd.tls = tls
            await client.close()
