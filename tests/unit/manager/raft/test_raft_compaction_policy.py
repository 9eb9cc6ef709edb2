"""Compaction policy: when a snapshot is due, and how much of the log remains after it."""

from manager.raft.compaction_policy import MAX_KEPT_BYTES, first_index_to_keep, snapshot_due
from manager.raft.core import ConfState, Entry, MemoryStorage, PeerStatus, ProgressState, Role, Status


def due(entries: int, size_bytes: int, last_bytes: int = 0) -> bool:
    return snapshot_due(entries=entries, size_bytes=size_bytes, interval=100, limit_bytes=1000, last_bytes=last_bytes)


def test_a_snapshot_is_due_by_count_or_by_size() -> None:
    assert not due(99, 999)
    assert due(100, 0)
    assert due(1, 1000)
    assert not due(0, 5000)


def test_a_large_state_is_not_written_more_often_than_the_log_grows_by_as_much() -> None:
    assert not due(5, 4999, last_bytes=5000)
    assert due(5, 5000, last_bytes=5000)
    assert due(100, 0, last_bytes=5000)


def storage(count: int, size: int = 1) -> MemoryStorage:
    made = MemoryStorage()
    made.append([Entry(1, index, data=bytes(size)) for index in range(1, count + 1)])
    return made


def status(**peers: PeerStatus) -> Status:
    found = {int(name[1:]): peer for name, peer in peers.items()}
    return Status(1, Role.LEADER, 1, 1, 1, 0, 0, 1, 100, 0, ConfState(voters=(1, 2, 3)), found)


def peer(
    match: int, state: ProgressState = ProgressState.REPLICATE, *, after: int = 0, active: bool = True
) -> PeerStatus:
    return PeerStatus(match, after or match + 1, state, False, active, 0)


def test_the_configured_number_of_entries_is_kept() -> None:
    assert first_index_to_keep(storage(100), status(), 100, 10) == 91
    assert first_index_to_keep(storage(100), status(), 100, 0) == 101
    assert first_index_to_keep(storage(5), status(), 5, 500) == 1


def test_entries_that_a_reachable_follower_lacks_are_kept() -> None:
    assert first_index_to_keep(storage(100), status(p1=peer(0), p2=peer(40)), 100, 10) == 41
    assert first_index_to_keep(storage(100), status(p2=peer(40, active=False)), 100, 10) == 91
    assert first_index_to_keep(storage(100), status(p2=peer(99)), 100, 10) == 91


def test_entries_after_a_snapshot_in_transit_are_kept_for_a_silent_follower() -> None:
    """Sending and decoding take longer than the interval between snapshots. Without this it would need the next snapshot too, and so on."""
    taking = peer(0, ProgressState.SNAPSHOT, after=51, active=False)
    assert first_index_to_keep(storage(100), status(p2=taking), 100, 10) == 51


def test_kept_entries_are_bounded_in_bytes() -> None:
    size = MAX_KEPT_BYTES // 4
    assert first_index_to_keep(storage(8, size), status(p2=peer(1)), 8, 500) == 6
    assert first_index_to_keep(storage(2, MAX_KEPT_BYTES * 2), status(), 2, 500) == 3
