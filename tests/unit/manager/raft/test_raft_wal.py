"""Write-ahead log under crashes and corruption. A crash leaves any prefix of the last frame; anything else is corruption."""

import os
from pathlib import Path

import pytest

from manager.keys.key_ring import MAGIC_BYTES, DecryptionError, KeyRing
from manager.raft.core import Entry, HardState
from manager.raft.wal import Wal
from manager.raft.wal_segment import Frame, list_segments, read_segment
from manager.storage_errors import CorruptError, StorageError

KEY = bytes(range(32))


def entry(index: int, term: int = 1, data: bytes = b"payload") -> Entry:
    return Entry(term, index, data=data + b" %d" % index)


def opened(folder: Path, **options: int) -> tuple[Wal, object]:
    wal = Wal(folder, KeyRing.of(KEY), **options)
    replay = wal.read()
    wal.start_segment()
    return wal, replay


def written(folder: Path, frames: list[Frame], **options: int) -> list[Path]:
    wal, _ = opened(folder, **options)
    for frame in frames:
        wal.append(frame)
    if frames:
        wal._writer.finish()
    wal.close()
    return [path for _, path in list_segments(folder)]


FRAMES = [
    Frame(HardState(1, 2, 0), [entry(2), entry(3)]),
    Frame(HardState(1, 2, 2), [entry(4)]),
    Frame(HardState(2, 3, 3), [entry(4, 2), entry(5, 2)]),
]


def test_what_was_written_is_read_back_and_later_entries_replace_earlier_ones(tmp_path: Path) -> None:
    written(tmp_path, FRAMES)
    _, replay = opened(tmp_path)
    assert replay.hard_state == HardState(2, 3, 3)
    assert replay.entries == [entry(2), entry(3), entry(4, 2), entry(5, 2)]


def test_a_crash_at_any_byte_of_the_last_write_loses_that_write_alone(tmp_path: Path) -> None:
    [path] = written(tmp_path / "whole", FRAMES)
    whole = path.read_bytes()
    [shorter] = written(tmp_path / "shorter", FRAMES[:2])
    before_last = shorter.stat().st_size
    assert before_last < len(whole)
    for size in range(before_last, len(whole)):
        folder = tmp_path / str(size)
        folder.mkdir()
        (folder / path.name).write_bytes(whole[:size])
        wal, replay = opened(folder)
        assert replay.entries == [entry(2), entry(3), entry(4)], size
        wal.append(Frame(HardState(3, 1, 3), [entry(5, 3)]))
        wal.close()
        assert opened(folder)[1].entries == [entry(2), entry(3), entry(4), entry(5, 3)], size


def test_a_crash_at_any_byte_of_any_write_leaves_a_prefix_of_the_writes(tmp_path: Path) -> None:
    [path] = written(tmp_path / "whole", FRAMES)
    whole = path.read_bytes()
    states = [[], [entry(2), entry(3)], [entry(2), entry(3), entry(4)]]
    [named] = written(tmp_path / "named", [])
    seen = []
    for size in range(named.stat().st_size, len(whole), 3):
        folder = tmp_path / str(size)
        folder.mkdir()
        (folder / path.name).write_bytes(whole[:size])
        wal, replay = opened(folder)
        wal.close()
        assert replay.entries in states
        seen.append(states.index(replay.entries))
    assert seen == sorted(seen)
    assert set(seen) == {0, 1, 2}


def test_a_torn_tail_of_garbage_or_zeros_is_cut(tmp_path: Path) -> None:
    for name, tail in (("zeros", bytes(5000)), ("garbage", os.urandom(5000))):
        [path] = written(tmp_path / name, FRAMES)
        size = path.stat().st_size
        with path.open("ab") as file:
            file.write(tail)
        assert len(opened(tmp_path / name)[1].entries) == 4
        assert path.stat().st_size == size


def test_damage_before_the_tail_refuses_to_start_and_names_the_file_and_byte(tmp_path: Path) -> None:
    [path] = written(tmp_path / "whole", FRAMES)
    whole = path.read_bytes()
    [shorter] = written(tmp_path / "shorter", FRAMES[:2])
    for position in range(shorter.stat().st_size):
        folder = tmp_path / str(position)
        folder.mkdir()
        damaged = bytearray(whole)
        damaged[position] ^= 0x40
        (folder / path.name).write_bytes(damaged)
        key_id = MAGIC_BYTES <= position < MAGIC_BYTES + 4
        with pytest.raises(StorageError, match="is encrypted with data key" if key_id else "is damaged at byte"):
            opened(folder)


def test_a_flipped_bit_in_the_last_record_cuts_that_one_and_in_an_older_file_refuses_to_start(tmp_path: Path) -> None:
    [path] = written(tmp_path / "whole", FRAMES)
    whole = path.read_bytes()
    [shorter] = written(tmp_path / "shorter", FRAMES[:2])
    for position in range(shorter.stat().st_size, len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        folder = tmp_path / str(position)
        folder.mkdir()
        (folder / path.name).write_bytes(damaged)
        wal, replay = opened(folder)
        wal.close()
        assert replay.entries == [entry(2), entry(3), entry(4)], position
    written(tmp_path / "whole", [Frame(None, [entry(6, 2)])])
    for position in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(StorageError, match="is encrypted with data key|is damaged at byte"):
            opened(path.parent)


def test_a_torn_tail_is_damage_when_a_later_file_exists(tmp_path: Path) -> None:
    written(tmp_path, FRAMES)
    first, _ = written(tmp_path, [])
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(CorruptError, match="later files exist"):
        opened(tmp_path)


def test_a_missing_file_in_the_middle_refuses_to_start(tmp_path: Path) -> None:
    for index in (2, 3, 4):
        written(tmp_path, [Frame(HardState(1), [entry(index)])])
    list_segments(tmp_path)[1][1].unlink()
    with pytest.raises(CorruptError, match="the file before it is missing"):
        opened(tmp_path)


def test_the_files_hold_no_plaintext_and_need_their_own_key(tmp_path: Path) -> None:
    [path] = written(tmp_path, [Frame(HardState(1), [entry(2, data=b"top secret words")])])
    assert b"top secret words" not in path.read_bytes()
    with pytest.raises(CorruptError, match="cannot be decrypted with data key 1"):
        Wal(tmp_path, KeyRing.of(bytes(32))).read()


def test_a_record_can_be_decrypted_only_at_its_own_position(tmp_path: Path) -> None:
    ring = KeyRing.of(KEY)
    head, cipher = ring.new_file_cipher(b"CoveyWL2", b"wal 1")
    again = ring.existing_file_cipher(tmp_path, b"CoveyWL2", b"wal 1", head)
    sealed = cipher.seal(4, b"words")
    assert cipher.open(4, sealed) == again.open(4, sealed) == b"words"
    for other, number in (
        (cipher, 5),
        (ring.existing_file_cipher(tmp_path, b"CoveyWL2", b"wal 2", head), 4),
        (ring.existing_file_cipher(tmp_path, b"CoveyWL2", b"wal 1", bytes([*head[:-1], head[-1] ^ 1])), 4),
    ):
        with pytest.raises(DecryptionError):
            other.open(number, sealed)
    [path] = written(tmp_path, FRAMES)
    path.rename(tmp_path / f"{2:016x}.wal")
    with pytest.raises(CorruptError, match="at this position"):
        opened(tmp_path)


def test_segments_are_rolled_and_released_once_a_snapshot_covers_them(tmp_path: Path) -> None:
    wal, _ = opened(tmp_path, segment_bytes=512)
    for index in range(2, 60):
        wal.append(Frame(HardState(1, 1, index - 1), [entry(index)]))
    count = len(list_segments(tmp_path))
    assert count > 5
    wal.release(30)
    left = list_segments(tmp_path)
    assert 1 < len(left) < count
    wal.close()
    _, replay = opened(tmp_path)
    assert replay.entries[0].index <= 31
    assert replay.entries[-1] == entry(59)
    assert replay.hard_state == HardState(1, 1, 58)


def test_the_hard_state_outlives_the_segments_that_first_held_it(tmp_path: Path) -> None:
    wal, _ = opened(tmp_path, segment_bytes=256)
    wal.append(Frame(HardState(7, 3, 1), [entry(2, 7)]))
    for index in range(3, 40):
        wal.append(Frame(None, [entry(index, 7)]))
    wal.release(38)
    wal.close()
    assert opened(tmp_path)[1].hard_state == HardState(7, 3, 1)


def test_a_snapshot_from_the_leader_replaces_what_was_logged_before(tmp_path: Path) -> None:
    written(tmp_path, [*FRAMES, Frame(HardState(4, 0, 50), [], (50, 4)), Frame(HardState(4, 0, 50), [entry(51, 4)])])
    _, replay = opened(tmp_path)
    assert replay.base == (50, 4)
    assert replay.entries == [entry(51, 4)]


def test_entries_that_replace_partly_compacted_ones_are_no_gap(tmp_path: Path) -> None:
    """1. Entries 2-4, then 5-9 in the next file. 2. A new leader replaces 4-9. 3. A snapshot at 4 frees the first file. The second
    file begins with entry 5, followed by 4. Such a log once refused to start.
    """
    wal, _ = opened(tmp_path, segment_bytes=100)
    wal.append(Frame(HardState(1, 1, 1), [entry(2), entry(3), entry(4)]))
    wal.append(Frame(HardState(1, 1, 3), [entry(index) for index in range(5, 10)]))
    wal._segment_bytes = 1 << 20
    wal.append(Frame(HardState(2, 1, 4), [entry(index, 2) for index in range(4, 7)]))
    wal.release(4)
    wal.close()
    assert len(list_segments(tmp_path)) == 1
    assert opened(tmp_path)[1].entries == [entry(4, 2), entry(5, 2), entry(6, 2)]


def test_starts_without_writes_leave_no_files(tmp_path: Path) -> None:
    written(tmp_path, FRAMES)
    for _ in range(5):
        written(tmp_path, [])
    assert [sequence for sequence, _ in list_segments(tmp_path)] == [1, 2]
    assert opened(tmp_path)[1].hard_state == FRAMES[-1].hard_state


def test_a_start_copies_only_the_last_file_and_only_once(tmp_path: Path) -> None:
    """All other files were flushed before that file was started. A start that wrote nothing leaves nothing to copy."""
    written(tmp_path, FRAMES)
    written(tmp_path, [Frame(None, [entry(6)])])
    inodes = [path.stat().st_ino for _, path in list_segments(tmp_path)]
    for _ in range(3):
        before, inodes = inodes, [path.stat().st_ino for path in written(tmp_path, [])]
        assert before[0] == inodes[0]
    assert before[1] == inodes[1]


def test_only_the_current_file_is_filled_with_zeros_ahead(tmp_path: Path) -> None:
    wal, _ = opened(tmp_path, segment_bytes=100)
    for index in (2, 3):
        wal.append(Frame(None, [entry(index)]))
    closed, writing = (path.read_bytes() for _, path in list_segments(tmp_path))
    assert not closed.endswith(bytes(100))
    assert writing.endswith(bytes(100_000))
    wal.close()


def test_an_unfinished_segment_file_is_ignored(tmp_path: Path) -> None:
    written(tmp_path, FRAMES)
    (tmp_path / f"{2:016x}.new").write_bytes(b"Cov")
    assert len(opened(tmp_path)[1].entries) == 4
    assert not list(tmp_path.glob("*.new"))


def test_reading_a_segment_twice_gives_the_same(tmp_path: Path) -> None:
    [path] = written(tmp_path, FRAMES)
    frames, data = read_segment(path, 1, KeyRing.of(KEY), last=True)
    assert (frames[1:], data) == (FRAMES, path.read_bytes())
