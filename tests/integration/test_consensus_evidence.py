"""Tests of the consensus layer for the faults because of which other layers were rejected (see ``docs/adr``).

First one node with its real disk, then groups of real processes with real files and mTLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from covey.objects import (
    Annotations,
    Cluster,
    Config,
    ConfigSpec,
    Network,
    NetworkSpec,
    Node,
    Secret,
    SecretSpec,
    Service,
    ServiceSpec,
    Task,
    WatchedStack,
    WatchedStackSpec,
    replace,
)
from manager.keys.key_ring import KeyRing
from manager.raft.core import (
    ChangeKind,
    ConfChange,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    RawNode,
    Role,
)
from manager.raft.core import RaftConfig as CoreConfig
from manager.raft.disk import Disk, MemberIdentity, create_group
from manager.raft.driver import RaftDriver, RaftTuning
from manager.raft.file_ops import FileOps
from manager.raft.node import RaftNode
from manager.store import Member, Store, Tx, snapshot
from manager.store.schema import SCHEMAS
from manager.store.view import View
from tests.support.raft_harness import NodeHarness, ShortestTimeout
from tests.support.raft_processes import CommandError, RaftGroup, RaftProcess, raft_group, until

pytestmark = pytest.mark.timeout(180)

K = MessageKind
RING = KeyRing.of(bytes(range(32)))
ME = Member(raft_id=1, node_id="alone", addr="127.0.0.1:1")
IDENTITY = MemberIdentity(cluster_id="c", raft_id=1, node_id="alone", members=(ME,))


class BlockingFiles(FileOps):
    """File operations that count flushes, and block them while `open` is not set."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.flushes = 0

    def flush(self, fd: int) -> None:
        assert self.open.wait(30), "the test did not release the flush"
        super().flush(fd)
        self.flushes += 1


def create_group_on_disk(folder: Path) -> None:
    create_group(folder, RING, IDENTITY, snapshot.encode(View.empty(), (ME,)))


@contextlib.asynccontextmanager
async def single_manager(
    folder: Path, files: FileOps | None = None, tuning: RaftTuning | None = None
) -> AsyncIterator[Store]:
    """Store of a single manager with the real driver and real files."""
    disk = Disk.open(folder, RING, files=files or FileOps())

    def connect(machine: object) -> RaftNode:
        return RaftNode(RaftDriver(disk, machine, lambda: None, tuning or RaftTuning(), ME.addr))

    store = Store(connect)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(store.consensus.run())

        async def leads() -> bool:
            return store.consensus.leadership.is_leader

        await until(leads, "leadership")
        yield store
        if isinstance(files, BlockingFiles):
            files.open.set()
        await store.consensus.close()


def config(name: str, data: bytes = b"") -> Config:
    return Config(id=name, spec=ConfigSpec(annotations=Annotations(name=name), data=data))


# --- one node and its disk


async def test_no_write_is_acknowledged_before_its_flush(tmp_path: Path) -> None:
    """1. The disk blocks every flush. 2. No write is acknowledged. 3. The flush returns, and so does the write."""
    create_group_on_disk(tmp_path)
    files = BlockingFiles()
    async with single_manager(tmp_path, files) as store:
        before = files.flushes
        files.open.clear()
        write = asyncio.ensure_future(store.update(lambda tx: tx.create(config("held"))))
        done, _ = await asyncio.wait([write], timeout=0.4)
        assert not done
        assert store.view().configs.get("held") is None
        files.open.set()
        async with asyncio.timeout(10):
            await write
        assert files.flushes > before


async def test_every_sequential_write_is_flushed_on_its_own(tmp_path: Path) -> None:
    create_group_on_disk(tmp_path)
    files = BlockingFiles()
    async with single_manager(tmp_path, files) as store:
        for number in range(30):
            before = files.flushes
            await store.update(lambda tx, number=number: tx.create(config(f"c{number}")))
            assert files.flushes > before


def test_a_vote_is_kept_when_the_node_becomes_a_follower_again() -> None:
    """A node votes for 2. Even after it becomes a follower again, it does not vote for 3 in the same term."""
    harness = NodeHarness(pre_vote=False, check_quorum=False)
    (granted,) = harness.receive(K.VOTE, 2, term=5, index=9, log_term=4)
    assert (granted.kind, granted.reject) == (K.VOTE_REPLY, False)
    harness.receive(K.HEARTBEAT, 2, term=5)
    harness.state.become_follower(5, 0)
    (refused,) = harness.receive(K.VOTE, 3, term=5, index=9, log_term=4)
    assert refused.reject


async def test_a_vote_is_kept_over_a_restart(tmp_path: Path) -> None:
    """After a restart from real files the node rejects the second candidate and grants the first again."""
    create_group_on_disk(tmp_path)
    disk = Disk.open(tmp_path, RING)
    await disk.begin_save(HardState(5, 2, 1), [], None)
    disk.close()
    disk = Disk.open(tmp_path, RING)
    disk.storage._snapshot = replace_voters(disk, (1, 2, 3))
    node = RawNode(CoreConfig(id=1, random=ShortestTimeout(), applied=1), disk.storage)
    for candidate, rejected in ((3, True), (2, False)):
        node.step(Message(K.VOTE, 1, candidate, 5, 4, 9))
        ready = node.ready()
        (reply,) = ready.messages_after_sync
        assert (reply.to, reply.reject) == (candidate, rejected)
        node.advance(ready)
    disk.close()


def replace_voters(disk: Disk, voters: tuple[int, ...]) -> object:
    known = disk.storage.snapshot()

    conf = msgspec.structs.replace(known.metadata.conf_state, voters=voters)
    return msgspec.structs.replace(known, metadata=msgspec.structs.replace(known.metadata, conf_state=conf))


@pytest.mark.parametrize(("size", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4)])
def test_a_majority_is_more_than_half_also_for_even_sizes(size: int, needed: int) -> None:
    """Elections and commits need exactly this many members: 2 of 2, 3 of 4."""
    harness = NodeHarness(size, pre_vote=False, check_quorum=False)
    harness.node.campaign()
    harness.pump()
    for votes, peer in enumerate(range(2, size + 1), start=2):
        if votes <= needed:
            assert harness.state.role is Role.CANDIDATE, f"{votes - 1} of {size} votes were enough"
            harness.receive(K.VOTE_REPLY, peer)
    assert harness.state.role is Role.LEADER
    last = harness.state.log.last_index()
    for acknowledged, peer in enumerate(range(2, size + 1), start=2):
        if acknowledged <= needed:
            assert harness.state.log.committed < last, f"{acknowledged - 1} of {size} disks were enough"
            harness.receive(K.APPEND_REPLY, peer, index=last)
    assert harness.state.log.committed == last


def test_a_repeated_or_late_append_erases_no_entries() -> None:
    """Entries 2 to 6 are stored and acknowledged but not committed. Every earlier append is delivered again, in any order."""
    harness = NodeHarness(terms=())
    entries = tuple([Entry(1, index, data=b"%d" % index) for index in range(2, 7)])
    for count in (1, 3, 5):
        harness.receive(K.APPEND, term=1, index=1, log_term=1, entries=entries[:count], commit=1)
    for order in itertools.permutations((0, 1, 3, 5)):
        for count in order:
            (reply,) = harness.receive(K.APPEND, term=1, index=1, log_term=1, entries=entries[:count], commit=1)
            assert (reply.reject, reply.index) == (False, 1 + count)
            assert harness.disk.entries(2, 7, 1 << 20) == list(entries)
    harness.receive(K.HEARTBEAT, term=1, commit=6)
    for count in (5, 1):
        harness.receive(K.APPEND, term=1, index=1, log_term=1, entries=entries[:count], commit=6)
    assert [entry.index for entry in harness.applied] == [2, 3, 4, 5, 6]
    assert harness.disk.entries(2, 7, 1 << 20) == list(entries)


def test_a_returning_node_does_not_depose_the_leader() -> None:
    """Pre-vote: the node asks before it increments its term, and members with a leader do not answer."""
    leader = NodeHarness().leader_with_followers()
    term = leader.state.term
    leader.receive(K.HEARTBEAT_REPLY, 2)
    leader.receive(K.PRE_VOTE, 3, term=term + 7, index=1, log_term=1)
    assert (leader.state.role, leader.state.term) == (Role.LEADER, term)
    returning = NodeHarness()
    asked = returning.tick(20)
    assert {m.kind for m in asked} == {K.PRE_VOTE}
    assert returning.state.term == 1


async def test_every_kind_of_entry_is_read_back_from_the_files(tmp_path: Path) -> None:
    """Data, membership changes of every kind, and empty entries, across segments and a truncation."""
    create_group_on_disk(tmp_path)
    changes = [ConfChange.of(kind, 7, b"context").encode() for kind in ChangeKind]
    payloads = [(EntryKind.CONF_CHANGE, change) for change in (*changes, ConfChange().encode())]
    payloads += [(EntryKind.NORMAL, data) for data in (b"", b"x", bytes(range(256)) * 400)]
    entries = [Entry(2, index, kind, data) for index, (kind, data) in enumerate(payloads, start=2)]
    disk = Disk.open(tmp_path, RING, segment_bytes=4096)
    hard = HardState(2, 1, 1)
    for first in (entries, entries[3:]):
        await disk.begin_save(hard, first, None)
        disk.finish_save(hard, first, None)
    disk.close()
    disk = Disk.open(tmp_path, RING)
    assert disk.storage.entries(2, 2 + len(entries), 1 << 30) == entries
    assert disk.storage.initial_state()[0] == hard
    disk.close()


async def test_every_kind_of_object_is_read_back_from_the_log(tmp_path: Path) -> None:
    """Each object is created, changed and partly removed. The restart has only the first snapshot."""
    create_group_on_disk(tmp_path)
    named = Annotations(name="a", labels={"k": "v"})
    objects = [
        Node(id="node"),
        Service(id="service", spec=ServiceSpec(annotations=named)),
        Task(id="task", service_id="service", slot=1),
        Network(id="network", spec=NetworkSpec(annotations=named)),
        Secret(id="secret", spec=SecretSpec(annotations=named, data=b"\x00\xff")),
        config("config", b"data"),
        Cluster(id="cluster"),
        WatchedStack(id="stack", spec=WatchedStackSpec(annotations=named, url="https://h/a")),
    ]
    assert {type(item) for item in objects} == {schema.kind for schema in SCHEMAS}
    async with single_manager(tmp_path) as store:
        for item in objects:
            await store.update(lambda tx, item=item: (tx.create(item), tx.create(replace(item, **second(item)))))
        for schema, item in zip(SCHEMAS, objects, strict=True):
            assert schema.kind is type(item)

            def change(tx: Tx, schema: object = schema, item: object = item) -> None:
                tx.update(tx.state(schema).objects[item.id])
                tx.remove(type(item), f"{item.id}-2")

            await store.update(change)
        before = store.view()
        assert len(before.configs) == 1
    async with single_manager(tmp_path) as store:
        after = store.view()
        assert after.version >= before.version
        for schema in SCHEMAS:
            assert dict(after.state(schema).objects.items()) == dict(before.state(schema).objects.items())


def second(item: object) -> dict[str, object]:
    """Changes that make another object of the same kind: its ID, and its name if names are unique."""
    fields: dict[str, object] = {"id": f"{item.id}-2"}
    spec = getattr(item, "spec", None)
    if spec is not None and getattr(spec, "annotations", None) is not None:
        fields["spec"] = replace(spec, annotations=Annotations(name="b"))
    return fields


# --- groups of real processes


async def write_until_stopped(group: RaftGroup, acknowledged: dict[str, int], stop: asyncio.Event, count: int) -> None:
    """Clients that write until ``stop`` is set. ``acknowledged`` gets the version of each acknowledged write."""

    async def write(number: int) -> None:
        for turn in itertools.count():
            if stop.is_set():
                return
            name = f"w{number}-{turn}"
            with contextlib.suppress(CommandError, TimeoutError, ConnectionError):
                acknowledged[name] = await (await group.leader())("create", name=name, size=200)

    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(write(number))


async def assert_all_have(group: RaftGroup, names: set[str]) -> None:
    for member in group.members.values():
        missing = names - set(await member("names", fresh=True))
        assert not missing, f"{member.node_id} lacks {len(missing)} acknowledged writes, such as {min(missing)}"


async def wait_equal_state(group: RaftGroup) -> None:
    async def check() -> bool:
        return len({await member("digest") for member in group.members.values()}) == 1

    await until(check, "equal state on all members")


async def wait_acknowledged(acknowledged: dict[str, int], count: int) -> None:
    async def reached() -> bool:
        return len(acknowledged) >= count

    await until(reached, f"{count} acknowledged writes", seconds=40)


async def term_of(member: RaftProcess) -> int:
    return (await member("status"))["term"]


async def test_writes_continue_soon_after_the_leader_is_killed_and_none_is_lost(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        await group.add_three()
        acknowledged: dict[str, int] = {}
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write_until_stopped(group, acknowledged, stop, 6))
            await wait_acknowledged(acknowledged, 150)
            victim = await group.leader()
            began = time.monotonic()
            await victim.kill()
            await wait_acknowledged(acknowledged, len(acknowledged) + 20)
            seconds = time.monotonic() - began
            await victim.start()
            stop.set()
        assert seconds < 8, f"no writes for {seconds:.1f} s"
        await assert_all_have(group, set(acknowledged))
        await wait_equal_state(group)


async def test_snapshot_and_log_agree_after_all_members_are_killed_during_writes(tmp_path: Path) -> None:
    """Snapshots every 30 entries and a short log, so that each kill is close to a snapshot; two rounds."""
    async with raft_group(tmp_path, snapshot_interval=30, log_entries_for_slow_followers=3) as group:
        await group.add_three()
        acknowledged: dict[str, int] = {}
        for _ in range(2):
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(write_until_stopped(group, acknowledged, stop, 6))
                await wait_acknowledged(acknowledged, len(acknowledged) + 100)
                stop.set()
                await asyncio.gather(*[member.kill() for member in group.members.values()])
                await asyncio.gather(*[member.start() for member in group.members.values()])
            await assert_all_have(group, set(acknowledged))
        leader = await group.leader()
        assert (await leader("status"))["first_index"] > 100, "the log was not compacted"
        await wait_equal_state(group)


async def test_large_entries_are_replicated_without_a_leader_change(tmp_path: Path) -> None:
    """Entries of 50 KB, 1 MB and 1.4 MiB during other writes. A larger one is refused."""
    async with raft_group(tmp_path) as group:
        await group.add_three()
        names = set()
        for attempt in range(2):  # a busy machine may depose a leader once, a fault does it every time
            leader = await group.leader()
            term = await term_of(leader)
            names |= await write_large(leader, str(attempt))
            if await term_of(await group.leader()) == term:
                break
        else:
            pytest.fail("large entries depose the leader")
        with pytest.raises(CommandError) as refused:
            await leader("create", name="too-large", size=1_600_000)
        assert refused.value.kind == "TooLargeError"
        await assert_all_have(group, names)
        await wait_equal_state(group)


async def write_large(leader: RaftProcess, prefix: str) -> set[str]:
    """Write five entries of each size while ten other clients write."""
    names = {f"{prefix}-{size}-{number}": size for size in (50_000, 1_000_000, 1_468_006) for number in range(5)}
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(leader("load", clients=10, writes=300, size=500, prefix=prefix, timeout_seconds=60))
        for name, size in names.items():
            await leader("create", name=name, size=size)
    return set(names)


async def test_a_hundred_concurrent_writers_all_get_answers(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        await group.add_three()
        leader = await group.leader()
        figures = await leader("load", clients=100, writes=1500, size=1024, prefix="x", timeout_seconds=60)
        assert figures["p99_ms"] < 5000
        await assert_all_have(group, {f"x{number}" for number in range(1500)})


async def test_each_of_many_concurrent_proposals_gets_its_own_result(tmp_path: Path) -> None:
    """Every second name is created twice: one of the two succeeds, the other is refused."""
    async with raft_group(tmp_path) as group:
        await group.add_three()
        leader = await group.leader()
        asked = [f"n{number // 2 if number % 4 < 2 else number}" for number in range(200)]
        answers = await asyncio.gather(*[leader("create", name=name) for name in asked], return_exceptions=True)
        created = {n: a for n, a in zip(asked, answers, strict=True) if isinstance(a, int)}
        refused = [n for n, a in zip(asked, answers, strict=True) if isinstance(a, CommandError)]
        assert sorted([*created, *refused]) == sorted(asked)
        assert all(name in created for name in refused)
        assert len(set(created.values())) == len(created), "two proposals got the same entry"
        await assert_all_have(group, set(created))


async def test_members_are_added_and_removed_under_load_while_the_log_is_compacted(tmp_path: Path) -> None:
    async with raft_group(tmp_path, snapshot_interval=50, log_entries_for_slow_followers=5) as group:
        await group.add_three()
        acknowledged: dict[str, int] = {}
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write_until_stopped(group, acknowledged, stop, 4))
            await wait_acknowledged(acknowledged, 100)
            await group.add("delta")
            await group.wait_voters(4)
            leaving = next(m for m in await group.followers() if m.node_id != "delta")
            await (await group.leader())("leave", node_id=leaving.node_id)
            assert await leaving.wait() == 3
            await group.wait_voters(3)
            await wait_acknowledged(acknowledged, len(acknowledged) + 50)
            stop.set()
        del group.members[leaving.node_id]
        await assert_all_have(group, set(acknowledged))
        assert (await group.members["delta"]("status"))["first_index"] > 50
        await wait_equal_state(group)
