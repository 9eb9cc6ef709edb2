"""Managers on a real etcd: elections, fences, lost answers, broken watches, compaction, dead members.

Each test has its own prefix. Tests that disturb etcd have their own etcd.
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
    """Shared by tests that do not disturb it."""
    with etcd_cluster(1) as one:
        yield one


def config(name: str, data: bytes = b"") -> Config:
    return Config(id=f"id-{name}", spec=ConfigSpec(annotations=Annotations(name=name), data=data))


async def wait_all_have(group: EtcdStoreGroup, *names: str) -> None:
    for node in group.nodes:
        if not node.task.done():
            await eventually(f"{node.node_id} to have {names}", lambda node=node: set(names) <= node.names())


async def test_one_manager_leads_and_all_see_its_writes(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd, 3) as group:
        leader = await group.wait_leader()
        await leader.create("a", b"1")
        await wait_all_have(group, "a")
        followers = [node for node in group.nodes if node is not leader]
        expected = leader.store.view().configs.by_name("a")
        assert all(node.store.view().configs.by_name("a") == expected for node in group.nodes), (
            "meta differs between managers"
        )
        for node in followers:
            assert node.consensus.leadership.leader_addr == f"{leader.node_id}:2378"
            assert node.consensus.leadership.term == leader.consensus.leadership.term
            with pytest.raises(NotLeaderError) as refused:
                await node.create("b")
            assert refused.value.leader_addr == f"{leader.node_id}:2378"
        members = followers[0].consensus.members()
        assert [(m.node_id, m.addr, m.reachable) for m in members] == [(f"m{n}", f"m{n}:2378", True) for n in (1, 2, 3)]


async def test_a_stopped_leader_is_replaced_sooner_than_a_crashed_one(
    etcd: EtcdCluster,
) -> None:
    async with etcd_store_group(etcd, 3) as group:
        loop = asyncio.get_running_loop()
        first = await group.wait_leader()
        term, began = first.consensus.leadership.term, loop.time()
        await first.close()
        second = await group.wait_leader(but=first)
        stop_seconds = loop.time() - began
        assert second.consensus.leadership.term > term
        began = loop.time()
        await second.crash()
        third = await group.wait_leader(but=second)
        crash_seconds = loop.time() - began
        assert crash_seconds < 5 * LEASE_SECONDS
        assert stop_seconds < crash_seconds, "a leader that stops releases its lease"
        await third.create("after")
        members = {m.node_id: m.reachable for m in third.consensus.members()}
        assert members == {first.node_id: False, second.node_id: False, third.node_id: True}


async def test_a_leader_that_stops_during_writes_reports_their_outcomes_and_stops_soon(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd) as group:
        leader = await group.wait_leader()
        writing = [asyncio.create_task(leader.create(f"w{number}")) for number in range(60)]
        while not leader.names():  # noqa: ASYNC110 - until the first write is done
            await asyncio.sleep(0)
        began = asyncio.get_running_loop().time()
        await leader.close()
        assert asyncio.get_running_loop().time() - began < 4 * LEASE_SECONDS
        results = await asyncio.gather(*writing, return_exceptions=True)
        assert not [error for error in results if isinstance(error, DeadlineError)]
        done = {f"w{number}" for number, error in enumerate(results) if error is None}
        second = await group.add_node("m2")
        assert second.names() == done


async def test_a_leader_that_stops_while_its_watch_hangs_stops_soon(
    etcd: EtcdCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with etcd_store_group(etcd) as group:
        leader = await group.wait_leader()
        monkeypatch.setattr(leader.consensus._follower, "_apply", lambda *_: None)
        writing = asyncio.create_task(leader.create("a"))
        await asyncio.sleep(0.2)
        began = asyncio.get_running_loop().time()
        await leader.close()
        assert asyncio.get_running_loop().time() - began < 4 * LEASE_SECONDS
        with pytest.raises(OutcomeUnknownError):
            await writing


async def test_a_deposed_leader_writes_nothing(etcd: EtcdCluster) -> None:
    """1. A leads and builds a transaction. 2. A loses leadership and B writes. 3. A sends the transaction: the fence makes etcd refuse it."""
    async with etcd_store_group(etcd, 2) as group:
        old = await group.wait_leader()
        leadership = old.consensus._own_leadership.require_leading()
        late = log.encode(7, [Change(Action.CREATE, None, config("late"))], 1)
        await old.consensus.transfer_leadership([node.node_id for node in group.nodes])
        new = await group.wait_leader(but=old)
        await new.create("new")
        cipher = ValueCipher(group.key, group.cluster_id)
        answer = await old.client.txn(with_fence(etcd_transaction(group.keys, cipher, late), group.keys, leadership))
        assert not answer.succeeded
        await new.consensus.read_index()
        assert new.names() == {"new"}


async def test_a_transaction_from_an_older_version_is_refused_by_etcd(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd) as group:
        leader = await group.wait_leader()
        await leader.create("a", b"0")
        old = leader.store.view().configs.by_name("a")
        await leader.add("a")
        cipher = ValueCipher(group.key, group.cluster_id)
        for change in (
            Change(Action.UPDATE, old, config("a", b"stale")),
            Change(Action.REMOVE, old, None),
            Change(Action.CREATE, None, config("a", b"again")),
        ):
            late = etcd_transaction(group.keys, cipher, log.encode(7, [change], 1))
            answer = await leader.client.txn(
                with_fence(late, group.keys, leader.consensus._own_leadership.require_leading())
            )
            assert not answer.succeeded, change
        await leader.add("a")
        assert leader.value("a") == b"2"


async def test_an_external_change_of_objects_in_etcd_reloads_all_managers_in_a_new_term(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd, 2) as group:
        leader = await group.wait_leader()
        term = leader.consensus.leadership.term
        await leader.create("a")
        await leader.create("b")
        await wait_all_have(group, "a", "b")
        etcd.ctl("del", f"{group.prefix}/objects/config/id-a")
        for node in group.nodes:
            await eventually("the object to be gone", lambda node=node: node.names() == {"b"})
        leader = await group.wait_leader()
        assert leader.consensus.leadership.term > term
        await leader.create("a")
        await wait_all_have(group, "a", "b")


async def test_a_write_whose_answer_was_lost_is_done_exactly_once(etcd: EtcdCluster) -> None:
    """Requests reach etcd and answers are lost. The proposer must find out whether the write took effect."""
    async with tcp_relays(etcd) as [relay], etcd_store_group(etcd) as group:
        await group.nodes[0].close()
        node = await group.add_node("m2", store=f"etcd://{relay.endpoint}{group.prefix}", ready=False)
        await group.wait_leader(but=group.nodes[0])
        await node.create("count", b"0")
        for _ in range(5):
            async with asyncio.TaskGroup() as tasks:
                adding = tasks.create_task(node.add("count"))
                await asyncio.sleep(0)
                relay.answers.clear()
                await asyncio.sleep(0.05)
                relay.cut()
                relay.answers.set()
            assert adding.exception() is None
        assert node.value("count") == b"5"


async def test_a_write_is_not_dropped_because_no_leader_is_known_during_a_reload(
    etcd: EtcdCluster,
) -> None:
    async with etcd_store_group(etcd) as group:
        consensus = (await group.wait_leader()).consensus
        follower, leadership = consensus._follower, consensus._own_leadership
        leader = leadership.require_leading()
        follower.fresh, follower.group_state.leader = False, None  # as during a reload
        leadership.end_term(leader.term)
        clearing = asyncio.create_task(consensus._proposals._settle_lost_write(leader, asyncio.Future()))
        await asyncio.sleep(0.1)
        assert not clearing.done()
        follower._watch.interrupt()
        await asyncio.wait_for(clearing, 10)


async def test_a_write_is_awaited_from_the_moment_it_is_proposed(etcd: EtcdCluster) -> None:
    """Otherwise a reload between the proposal and its first turn would leave it waiting for an answer that never comes."""
    async with etcd_store_group(etcd) as group:
        leader = await group.wait_leader()
        data = log.encode(7, [Change(Action.CREATE, None, config("a"))], 1)
        writing = asyncio.create_task(leader.consensus.propose(data))
        await asyncio.sleep(0)
        assert 7 in leader.consensus._follower._awaited
        await writing
        await asyncio.sleep(0)
        assert not leader.consensus._follower._awaited


async def test_concurrent_counters_lose_no_update_while_connections_break(etcd: EtcdCluster) -> None:
    async with tcp_relays(etcd) as [relay], etcd_store_group(etcd) as group:
        await group.nodes[0].close()
        node = await group.add_node("m2", store=f"etcd://{relay.endpoint}{group.prefix}", ready=False)
        await group.wait_leader(but=group.nodes[0])
        for name in "abc":
            await node.create(name, b"0")
        done = asyncio.Event()
        counted = dict.fromkeys("abc", 0)

        async def count(name: str) -> None:
            for _ in range(25):
                await node.add(name)
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
        assert {name: int(node.value(name)) for name in "abc"} == counted == dict.fromkeys("abc", 25)


async def test_a_broken_watch_continues_where_it_stopped(etcd: EtcdCluster) -> None:
    async with tcp_relays(etcd) as [relay], etcd_store_group(etcd) as group:
        leader = await group.wait_leader()
        node = await group.add_node("m2", store=f"etcd://{relay.endpoint}{group.prefix}")
        with node.store.watch() as (_, commits):
            for number in range(30):
                if number % 10 == 5:
                    relay.cut()
                await leader.create(f"c{number}")
            seen = [(await asyncio.wait_for(anext(commits), 10)).changes[0].item.id for _ in range(30)]
        assert seen == [f"id-c{number}" for number in range(30)]


@pytest.mark.parametrize("rests", [False, True])
async def test_a_watch_that_hangs_while_no_manager_leads_is_reopened(
    etcd: EtcdCluster, monkeypatch: pytest.MonkeyPatch, rests: bool
) -> None:
    """1. The leader crashes. 2. A follower learns that, and then its watch hangs. 3. Another leads and writes."""
    async with etcd_store_group(etcd, 3) as group:
        old = await group.wait_leader()
        victim, other = [node for node in group.nodes if node is not old]
        follower, election = victim.consensus._follower, victim.consensus._election
        hung, real = [], WatchStream.read

        async def read(watch: WatchStream, call: Any, seconds: float | None = None) -> Any:
            if watch is follower._watch and follower.group_state.leader is None and hung in ([], [call]):
                hung[:] = [call]
                return await real(watch, Silence(), seconds)
            return await real(watch, call, seconds)

        monkeypatch.setattr(WatchStream, "read", read)
        election._no_campaign_until = math.inf  # so that the other one wins
        await old.crash()
        await eventually("the other one to lead", lambda: other.is_leader)
        if not rests:
            election._no_campaign_until = 0.0
        await other.create("x")
        await eventually("the watch to be opened again", lambda: "x" in victim.names(), 15)
        assert hung, "the watch did not hang"


class Silence:
    """A stream without messages."""

    async def read(self) -> Any:
        await asyncio.Event().wait()


async def test_compaction_during_a_broken_watch_reloads_everything(etcd: EtcdCluster) -> None:
    async with tcp_relays(etcd) as [relay], etcd_store_group(etcd) as group:
        leader = await group.wait_leader()
        await leader.create("before")
        await leader.create("gone")
        node = await group.add_node("m2", store=f"etcd://{relay.endpoint}{group.prefix}")
        with node.store.watch() as (_, commits):
            relay.refuses = True
            relay.cut()
            await leader.create("after")
            await leader.store.update(lambda tx: tx.remove(Config, "id-gone"))
            etcd.ctl("compact", str(leader.store.view().version))
            relay.refuses = False
            with pytest.raises(LaggedError):
                await asyncio.wait_for(anext(commits), 20)
        await eventually("the state to be complete again", lambda: node.fresh and node.names() == leader.names())
        assert {"before", "after"} <= node.names()
        assert "gone" not in node.names()
        await leader.create("later")
        await wait_all_have(group, "later")
        assert list(node.store.view().configs) == list(leader.store.view().configs)


async def test_a_leader_whose_watch_was_compacted_away_leads_in_a_new_term(etcd: EtcdCluster) -> None:
    """The outcome of its transactions in flight is not known from the state, so it needs a new term."""
    async with etcd_store_group(etcd) as group:
        leader = await group.wait_leader()
        await leader.create("a")
        term = leader.consensus.leadership.term
        leader.consensus._follower.applied = 1  # as if it had been paused since the cluster was created
        etcd.ctl("compact", str(leader.store.view().version))
        leader.client.leave_endpoint(leader.client.endpoint, "a test breaks the watch")
        await eventually("it to lead again", lambda: leader.is_leader and leader.consensus.leadership.term > term)
        await leader.create("b")
        assert leader.names() == {"a", "b"}


async def test_the_largest_objects_and_transactions_fit(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd, 2) as group:
        leader = await group.wait_leader()
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
        other = next(node for node in group.nodes if node is not leader)
        await other.consensus.read_index()
        assert other.value("big") == big
        late = await group.add_node("m3")
        assert late.value("big") == big
        assert late.names() == leader.names()


async def test_large_objects_are_read_in_smaller_pages() -> None:
    """The first page has small objects, so the next request has so many keys that its answer exceeds the client's limit."""
    with etcd_cluster(1) as own_etcd:
        async with etcd_store_group(own_etcd) as group:
            leader = await group.wait_leader()
            data = secrets.token_bytes(MAX_CONFIG_BYTES)
            for number in range(40):
                await leader.create(f"a{number}", b"small")
            for number in range(70):
                await leader.create(f"b{number}", data)
            second = await group.add_node("m2")
            assert second.names() == leader.names()
            assert len(second.names()) == 110


async def test_a_fresh_read_sees_every_earlier_acknowledged_write(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd, 2) as group:
        leader = await group.wait_leader()
        other = next(node for node in group.nodes if node is not leader)
        await leader.create("count", b"0")
        for number in range(50):
            await leader.add("count")
            await other.consensus.read_index()
            assert other.value("count") == b"%d" % (number + 1)


async def test_objects_in_etcd_are_encrypted(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd) as group:
        leader = await group.wait_leader()
        await leader.create("open", b"hunter2-and-more")
        create_with_retries = etcd.ctl("get", "--prefix", group.prefix, "--write-out=json", "--hex")
        assert etcd.ctl("get", "--prefix", f"{group.prefix}/objects/config", "--keys-only").strip().endswith("/id-open")
        everything = etcd.ctl("get", "--prefix", group.prefix, "--print-value-only")
        assert "hunter2" not in everything
        assert "hunter2" not in create_with_retries


async def test_creating_a_second_cluster_under_a_prefix_is_refused_with_the_first_ones_id(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd) as group:
        client = EtcdClient(group.etcd_target(""))
        cipher = ValueCipher(group.key, "other")
        with pytest.raises(
            CoveyError, match=f"already holds cluster {group.cluster_id}: join it with a token, or choose"
        ):
            await bootstrap.create_cluster(client, cipher, Cluster(id="other"), Node(id="x"), "x:1")
        await client.close()
        assert await eventually("the first cluster to have a leader", group.leader)


@pytest.mark.parametrize("within", ["", "/deeper"])
async def test_no_cluster_is_created_within_the_prefix_of_another(etcd: EtcdCluster, within: str) -> None:
    """Keys below PREFIX/objects would be taken for objects of the other cluster, and deleting that cluster would delete both."""
    async with etcd_store_group(etcd) as group:
        client = EtcdClient(target.parse(etcd.store(f"{group.prefix}/objects{within}")))
        try:
            with pytest.raises(ConflictError, match=f"lies within {group.prefix}, which is the prefix of cluster c-"):
                await bootstrap.create_cluster(
                    client, ValueCipher(group.key, "c2"), Cluster(id="c2"), Node(id="m1"), "m1:2378"
                )
        finally:
            await client.close()
        leader = await group.wait_leader()
        await leader.create("a")


async def test_a_manager_of_another_cluster_stops_with_an_error(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd) as group:
        other_group = EtcdStoreGroup(etcd)
        other_group.prefix, other_group.keys = group.prefix, group.keys
        node = EtcdStoreNode(other_group, "m9", "")
        with pytest.raises(BaseExceptionGroup) as ended:
            await asyncio.wait_for(node.task, 10)
        assert ended.group_contains(
            CoveyError,
            match=f"holds cluster {group.cluster_id}, and this node belongs to cluster {other_group.cluster_id}",
        )


async def test_a_removed_member_stops_and_cannot_rejoin_by_itself(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd, 3) as group:
        leader = await group.wait_leader()
        gone = next(node for node in group.nodes if node is not leader)
        await leader.consensus.remove_members([gone.node_id])
        with pytest.raises(BaseExceptionGroup) as ended:
            await asyncio.wait_for(gone.task, 10)
        assert ended.group_contains(RemovedError)
        assert gone.node_id not in {m.node_id for m in leader.consensus.members()}
        again = EtcdStoreNode(group, gone.node_id, "")
        with pytest.raises(BaseExceptionGroup) as ended:
            await asyncio.wait_for(again.task, 10)
        assert ended.group_contains(RemovedError)


async def test_leadership_is_transferred_to_the_named_successor(etcd: EtcdCluster) -> None:
    async with etcd_store_group(etcd, 3) as group:
        leader = await group.wait_leader()
        for successor in [node for node in group.nodes if node is not leader]:
            now = await group.wait_leader()
            if now is successor:
                continue
            await now.consensus.transfer_leadership([successor.node_id])
            assert (await group.wait_leader(but=now)) is successor
        with pytest.raises(UnavailableError, match="no other manager is running"):
            await (await group.wait_leader()).consensus.transfer_leadership([])


async def test_a_disconnected_leader_stops_leading_before_its_lease_ends_and_reports_the_reason() -> None:
    with etcd_cluster(1) as etcd:
        async with etcd_store_group(etcd) as group:
            [node] = group.nodes
            await group.wait_leader()
            await node.create("a")
            loop = asyncio.get_running_loop()
            etcd.pause(etcd.members[0])
            began = loop.time()
            await eventually("it to stop leading", lambda: not node.is_leader, 10)
            assert loop.time() - began <= LEASE_SECONDS
            with pytest.raises(NotLeaderError):
                await node.create("b")
            with pytest.raises(DeadlineError, match="etcd confirmed no read within 5 s: etcd at .* does not answer"):
                await node.consensus.read_index()
            assert "does not answer" in node.consensus.unavailable_reason
            etcd.resume(etcd.members[0])
            await group.wait_leader()
            await node.create("b")
            assert node.names() == {"a", "b"}
            assert node.consensus.unavailable_reason == ""


async def test_writes_continue_while_etcd_members_hang_or_crash_one_by_one() -> None:
    """Runs with TLS, as recommended."""
    with etcd_cluster(3, tls=True) as etcd:
        async with etcd_store_group(etcd, 2) as group:
            count = 0
            for number, harm, heal in (
                (0, etcd.pause, etcd.resume),
                (1, etcd.kill, etcd.start),
                (2, etcd.pause, etcd.resume),
            ):
                harm(etcd.members[number])
                try:
                    for _ in range(3):
                        await create_with_retries(group, f"c{count}")
                        count += 1
                finally:
                    heal(etcd.members[number])
            for node in group.nodes:
                await node.consensus.read_index()
                assert {f"c{number}" for number in range(count)} <= node.names()


async def create_with_retries(group: EtcdStoreGroup, name: str, seconds: float = 30.0) -> None:
    """Create a config; retry until it exists."""
    async with asyncio.timeout(seconds):
        while True:
            leader = await group.wait_leader(seconds=seconds)
            try:
                await leader.create(name)
            except CoveyError:
                await asyncio.sleep(0.05)
                if name in leader.names():
                    return
            else:
                return


async def test_a_full_etcd_refuses_writes_and_executed_ones_are_reported_as_done() -> None:
    """1. Many writes are sent at once. 2. etcd accepts them, because each fits alone. 3. It executes them, and reports those after the quota
    was exceeded as refused.
    """
    with etcd_cluster(1, options=("--quota-backend-bytes=8388608",)) as etcd:
        async with etcd_store_group(etcd) as group:
            leader = await group.wait_leader()
            done: set[str] = set()
            refused: list[str] = []
            for wave in range(10):
                names = [f"w{wave}-{number}" for number in range(40)]
                writes = [leader.create(name, bytes(400_000)) for name in names]
                results = await asyncio.gather(*writes, return_exceptions=True)
                done |= {name for name, error in zip(names, results, strict=True) if error is None}
                refused += [str(error) for error in results if error is not None]
                if refused:
                    break
            await leader.consensus.read_index()
            assert done == leader.names()
            assert refused
            assert all("its database is full" in one for one in refused)


async def test_a_leader_on_a_full_etcd_keeps_leading_after_a_cancelled_write() -> None:
    """A leader that released its key could not get it back: a full etcd accepts deletes and refuses every put."""
    with etcd_cluster(1, options=("--quota-backend-bytes=8388608",)) as etcd:
        async with etcd_store_group(etcd) as group:
            leader = await group.wait_leader()
            await fill(leader)
            assert "its database is full" in leader.consensus.unavailable_reason
            term = leader.consensus.leadership.term
            writing = asyncio.create_task(leader.create("gone"))
            while not leader.consensus._follower._awaited:  # noqa: ASYNC110 - as early as possible, because it is refused soon
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            assert writing.cancelled()
            await eventually("etcd to refuse it", lambda: not leader.consensus._follower._awaited)
            await asyncio.sleep(LEASE_SECONDS)
            assert leader.is_leader
            assert leader.consensus.leadership.term == term
            with pytest.raises(UnavailableError, match="its database is full"):
                async with asyncio.timeout(LEASE_SECONDS):
                    await leader.create("gone")  # the cancelled write does not block it


async def fill(leader: EtcdStoreNode) -> None:
    for number in range(40):
        try:
            await leader.create(f"filler-{number}", secrets.token_bytes(900_000))
        except UnavailableError:
            return
    raise AssertionError("etcd accepts more than its quota")


async def test_an_etcd_with_client_certificates_refuses_a_manager_without_one() -> None:
    with etcd_cluster(1, tls=True) as etcd:
        group = EtcdStoreGroup(etcd)
        plain = etcd.store(group.prefix)
        etcd.tls, tls = None, etcd.tls
        client = EtcdClient(group.etcd_target(plain))
        bootstrap_seconds, bootstrap.BOOTSTRAP_SECONDS = bootstrap.BOOTSTRAP_SECONDS, 2.0
        try:
            with pytest.raises(DeadlineError, match="did not answer within 2 s: etcd at 127.0.0.1:"):
                await bootstrap.create_cluster(
                    client, ValueCipher(group.key, "c"), Cluster(id="c"), Node(id="x"), "x:1"
                )
        finally:
            bootstrap.BOOTSTRAP_SECONDS = bootstrap_seconds
            etcd.tls = tls
            await client.close()
