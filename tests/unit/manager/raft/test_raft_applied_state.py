"""Applied state: members follow configuration changes, removed ids survive snapshots, and snapshots are decoded once."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from covey.errors import UnavailableError
from manager.keys.key_ring import KeyRing
from manager.raft import applied_state
from manager.raft.applied_state import AppliedState
from manager.raft.core import ConfChange, ConfState, Entry, EntryKind, Snapshot, SnapshotMeta
from manager.raft.disk import Disk, MemberIdentity, create_group
from manager.raft.membership import remove_change
from manager.raft.pending_proposals import PendingProposals
from manager.store.consensus import Member

RING = KeyRing.of(bytes(range(32)))
MEMBERS = tuple([Member(raft_id=raft_id, node_id=f"node-{raft_id}", addr=f"host:{raft_id}") for raft_id in (1, 2, 3)])


class Machine:
    """A state machine whose state is its member list and the applied data."""

    def __init__(self) -> None:
        self.applied: list[bytes] = []
        self.decoded: list[int] = []
        self.may_decode = threading.Event()
        self.may_decode.set()

    def apply(self, index: int, data: bytes) -> None:
        self.applied.append(data)

    def dropped(self, request_id: int) -> None: ...

    def snapshot(self, members: tuple[Member, ...]) -> Callable[[], bytes]:
        return lambda: encoded(*members)

    def decode(self, index: int, data: bytes) -> Callable[[], tuple[Member, ...]]:
        self.may_decode.wait(10)
        self.decoded.append(index)
        return lambda: msgspec.json.decode(data, type=tuple[Member, ...])


class Core:
    """Stands in for the core: a change removes its nodes from the voters."""

    def __init__(self) -> None:
        self.voters = {1, 2, 3}

    def apply_conf_change(self, change: ConfChange) -> ConfState:
        self.voters -= {single.node for single in change.changes}
        return ConfState(tuple(sorted(self.voters)))


def encoded(*members: Member) -> bytes:
    return msgspec.json.encode(members)


def snapshot(index: int, voters: tuple[int, ...], members: tuple[Member, ...]) -> Snapshot:
    return Snapshot(SnapshotMeta(index, 2, ConfState(voters)), encoded(*members))


def opened(folder: Path) -> tuple[AppliedState, Machine, list[list[int]]]:
    """The state of member 1, whose disk holds the bootstrap snapshot of a group of its own, and the links that it asked for."""
    create_group(folder, RING, MemberIdentity(cluster_id="c", raft_id=1, node_id="node-1"), encoded(MEMBERS[0]))
    disk = Disk.open(folder, RING)
    machine, links = Machine(), []
    transport = SimpleNamespace(set_members=lambda members: links.append([m.raft_id for m in members]))
    compactor = SimpleNamespace(entry_applied=lambda size: None, snapshot_taken=lambda index, size: None)
    parts: tuple[Any, ...] = (disk, machine, transport, compactor, PendingProposals())
    state = AppliedState(*parts)
    disk.close()
    return state, machine, links


def removal(index: int, raft_id: int) -> Entry:
    return Entry(2, index, EntryKind.CONF_CHANGE, remove_change([raft_id]).encode())


async def test_a_start_restores_state_and_members_from_the_snapshot(tmp_path: Path) -> None:
    state, machine, links = opened(tmp_path)
    assert machine.decoded == [1]
    assert state.metadata == SnapshotMeta(1, 1, ConfState((1,)))
    assert list(state.members) == [1]
    assert links == [[1]]
    assert state.is_single_voter


async def test_entries_are_applied_in_order_and_changes_reach_the_links(tmp_path: Path) -> None:
    state, machine, links = opened(tmp_path)
    await state.restore(snapshot(5, (1, 2, 3), MEMBERS))
    core: Any = Core()
    await state.apply([Entry(2, 6, data=b"a"), removal(7, 3), Entry(2, 8), Entry(2, 9, data=b"b")], core)
    assert machine.applied == [b"a", b"b"], "an empty entry has nothing to apply"
    assert (state.index, state.term) == (9, 2)
    assert links[-1] == [1, 2]
    assert not state.removed.is_set()


async def test_a_node_learns_of_its_own_removal(tmp_path: Path) -> None:
    state, _, _ = opened(tmp_path)
    await state.restore(snapshot(5, (1, 2, 3), MEMBERS))
    core: Any = Core()
    await state.apply([removal(6, 1)], core)
    assert state.removed.is_set()


async def test_a_snapshot_carries_the_removed_members_so_that_none_of_them_is_accepted_later(tmp_path: Path) -> None:
    state, _, _ = opened(tmp_path)
    await state.restore(snapshot(5, (1, 2, 3), MEMBERS))
    core: Any = Core()
    await state.apply([removal(6, 3)], core)
    assert list(state.removed_ids) == [3]
    other, _, _ = opened(tmp_path / "other")
    await other.restore(Snapshot(state.metadata, state.capture()()))
    assert list(other.members) == [1, 2]
    assert list(other.removed_ids) == [3]


async def test_only_the_latest_removed_ids_are_remembered(tmp_path: Path) -> None:
    state, _, _ = opened(tmp_path)
    removed = tuple([Member(raft_id=100 + number, node_id="") for number in range(applied_state.MAX_REMOVED + 5)])
    await state.restore(snapshot(5, (1, 2, 3), (*MEMBERS, *removed)))
    assert len(state.removed_ids) == applied_state.MAX_REMOVED
    assert removed[0].raft_id not in state.removed_ids
    assert removed[-1].raft_id in state.removed_ids


async def test_a_decoded_snapshot_is_installed_without_decoding_it_again(tmp_path: Path) -> None:
    state, machine, _ = opened(tmp_path)
    arriving = snapshot(5, (1, 2, 3), MEMBERS)
    await state.decode(arriving)
    assert state.index == 1, "decoding installs nothing"
    await state.restore(arriving)
    assert machine.decoded == [1, 5]
    assert state.index == 5


async def test_a_discarded_snapshot_is_decoded_again_when_it_is_restored(tmp_path: Path) -> None:
    state, machine, _ = opened(tmp_path)
    arriving = snapshot(5, (1, 2, 3), MEMBERS)
    await state.decode(arriving)
    state.discard_decoded()
    await state.restore(arriving)
    assert machine.decoded == [1, 5, 5]


async def test_one_snapshot_is_decoded_at_a_time(tmp_path: Path) -> None:
    state, machine, _ = opened(tmp_path)
    machine.may_decode.clear()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(state.decode(snapshot(5, (1, 2, 3), MEMBERS)))
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError, match="receiving another snapshot"):
            await state.decode(snapshot(6, (1, 2, 3), MEMBERS))
        machine.may_decode.set()
    await state.decode(snapshot(7, (1, 2, 3), MEMBERS))
