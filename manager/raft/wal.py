"""The write-ahead log: what a node promised, in segments.

Law: ``append`` returns when the frame is durable. A failed write or flush is final: what the disk holds is unknown then, and
trying again could report as durable what is not. Called from one worker thread by ``disk``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from manager.raft.core import Entry, HardState
from manager.raft.errors import CorruptError, StorageError, WriteFailedError
from manager.raft.sealing import KeyRing
from manager.raft.segment import Frame, SegmentWriter, list_segments, read_segment, reseal_segment, sync_folder

SEGMENT_BYTES = 16 << 20


class Replay(msgspec.Struct, frozen=True):
    """What the log says. ``base`` is (index, term) of the snapshot that last replaced it, None if none did."""

    hard_state: HardState
    entries: list[Entry]
    base: tuple[int, int] | None


class Wal:
    """Blocking; one thread at a time."""

    def __init__(self, folder: Path, ring: KeyRing, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._ring = ring
        self._segment_bytes = segment_bytes
        self._hard_state = HardState()
        self._closed: list[tuple[Path, int]] = []
        self._writer: SegmentWriter | None = None
        self._next_sequence = 1
        self._failed: WriteFailedError | None = None

    def open(self) -> Replay:
        """Reads all there is, cuts a torn tail, begins a new segment. Raises CorruptError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self._folder.glob("*.new"):
            leftover.unlink()
        segments = list_segments(self._folder)
        log = _Log()
        for position, (sequence, path) in enumerate(segments):
            self._require_consecutive(segments, position)
            log.read(path, read_segment(path, sequence, self._ring, last=position == len(segments) - 1))
            self._closed.append((path, log.highest))
            self._next_sequence = sequence + 1
        self._hard_state = log.hard_state
        try:
            self._begin_segment()
        except OSError as error:
            raise self._fail(error) from error
        return Replay(log.hard_state, log.entries, log.base)

    def append(self, frame: Frame) -> None:
        """Raises WriteFailedError, and from then on always."""
        if self._failed:
            raise self._failed
        if self._writer is None:
            raise StorageError(f"{self._folder} is not open")
        try:
            if self._writer.size >= self._segment_bytes:
                self._roll(self._writer)
            self._writer.append(frame)
        except OSError as error:
            raise self._fail(error) from error
        if frame.hard_state:
            self._hard_state = frame.hard_state

    def release(self, index: int) -> None:
        """Removes the oldest segments that hold nothing above ``index``, which a snapshot must cover."""
        try:
            while self._closed and self._closed[0][1] <= index:
                self._closed[0][0].unlink()
                self._closed.pop(0)
            sync_folder(self._folder)
        except OSError as error:
            raise self._fail(error) from error

    def change_ring(self, ring: KeyRing) -> list[Path]:
        """Seals with the ring's current key from now on; the segments that were closed by then. Raises WriteFailedError."""
        self._ring = ring
        try:
            if self._writer and self._writer.key_id != ring.current:
                self._roll(self._writer)
        except OSError as error:
            raise self._fail(error) from error
        return [path for path, _ in self._closed]

    def reseal(self, path: Path) -> Path | None:
        """``reseal_segment`` of a closed one, None also when it was released meanwhile; in any thread."""
        try:
            return reseal_segment(path, int(path.stem, 16), self._ring)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._fail(error) from error

    def replace(self, path: Path, fresh: Path) -> None:
        """Puts a resealed segment in the place of the closed one, unless that was released meanwhile. Raises WriteFailedError."""
        try:
            if any(closed == path for closed, _ in self._closed):
                fresh.rename(path)
                sync_folder(self._folder)
            else:
                fresh.unlink()
        except OSError as error:
            raise self._fail(error) from error

    def close(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer = None

    def _roll(self, writer: SegmentWriter) -> None:
        self._closed.append((writer.path, writer.last_index))
        self._writer = None
        writer.close()
        self._begin_segment()

    def _begin_segment(self) -> None:
        """A segment begins with the hard state, so that older ones can go."""
        self._writer = SegmentWriter(self._folder, self._next_sequence, self._ring)
        self._next_sequence += 1
        self._writer.append(Frame(hard_state=self._hard_state))

    def _fail(self, error: OSError) -> WriteFailedError:
        self._failed = WriteFailedError(self._folder, error)
        return self._failed

    @staticmethod
    def _require_consecutive(segments: list[tuple[int, Path]], position: int) -> None:
        if position and segments[position][0] != segments[position - 1][0] + 1:
            raise CorruptError(segments[position][1], 0, "the file before it is missing")


class _Log:
    """Frames into a log."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.entries: list[Entry] = []
        self.base: tuple[int, int] | None = None
        self.highest = 0

    def read(self, path: Path, frames: Iterable[Frame]) -> None:
        """``highest`` is, after this, the highest index that the file holds."""
        self.highest = 0
        for frame in frames:
            if frame.hard_state:
                self.hard_state = frame.hard_state
            if frame.reset:
                self.base, self.entries = frame.reset, []
            if frame.entries:
                self._append(path, frame.entries)
                self.highest = max(self.highest, frame.entries[-1].index)

    def _append(self, path: Path, entries: list[Entry]) -> None:
        first = entries[0].index
        if self.entries:
            known = self.entries[0].index
            if not known <= first <= self.entries[-1].index + 1:
                raise CorruptError(path, 0, f"entry {first} follows entry {self.entries[-1].index}")
            del self.entries[first - known :]
        elif self.base and first != self.base[0] + 1:
            raise CorruptError(path, 0, f"entry {first} follows the snapshot at {self.base[0]}")
        self.entries += entries
