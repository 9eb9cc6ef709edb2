"""Write-ahead log: hard states and entries in a sequence of segment files.

Invariant: `append` returns when the frame is durable; what `read` returned is durable when `start_segment` returns.
Segments are removed oldest first, each durably before the next, so the remaining ones are consecutive. All calls raise
OSError; after that only `close` may be called (and at startup `make_room` and `start_segment`).
Called by `disk` in its log thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from manager.keys.key_ring import KeyRing
from manager.raft.core import Entry, HardState
from manager.raft.file_ops import REAL_FILE_OPS, FileOps, remove_leftovers, replace_durably, write_temporary
from manager.raft.wal_segment import Frame, SegmentWriter, list_segments, read_segment, reencrypt_segment
from manager.storage_errors import CorruptError, StorageError

SEGMENT_BYTES = 16 << 20


class Replay(msgspec.Struct, frozen=True):
    """The content of the log. ``base`` is (index, term) of the snapshot that last replaced the log, or None."""

    hard_state: HardState
    entries: list[Entry]
    base: tuple[int, int] | None


class Wal:
    """Blocking; used by one thread at a time."""

    def __init__(
        self, folder: Path, ring: KeyRing, *, segment_bytes: int = SEGMENT_BYTES, files: FileOps = REAL_FILE_OPS
    ) -> None:
        self._folder = folder
        self._ring = ring
        self._segment_bytes = segment_bytes
        self._files = files
        self._hard_state = HardState()
        self._closed: list[tuple[Path, int]] = []
        self._writer: SegmentWriter | None = None
        self._next_sequence = 1
        self._last_read: tuple[Path, bytes] | None = None
        """The last segment as it was read, until the next one has begun; None if the next one replaces it. Only it holds the vote."""

    def read(self) -> Replay:
        """Reads all segments and cuts a torn tail; ``start_segment`` must follow. Raises CorruptError, MissingKeyError."""
        self._files.make_folder(self._folder)
        remove_leftovers(self._files, self._folder)
        segments = list_segments(self._folder)
        log = _LogBuilder()
        for position, (sequence, path) in enumerate(segments):
            self._require_consecutive(segments, position)
            last = position == len(segments) - 1
            frames, data = read_segment(path, sequence, self._ring, last=last, files=self._files)
            log.read(path, frames)
            if last and not any(frame.entries or frame.reset for frame in frames):
                # Nothing was written since the last start: the next segment replaces this one.
                self._next_sequence = sequence
            else:
                self._closed.append((path, log.highest))
                self._next_sequence = sequence + 1
                self._last_read = (path, data) if last else None
        self._hard_state = log.hard_state
        return Replay(log.hard_state, log.entries, log.base)

    def start_segment(self) -> None:
        """Makes durable what was read, and starts a new segment. May be repeated after an OSError."""
        if self._last_read:
            self._copy(*self._last_read)
        self._writer = SegmentWriter(self._folder, self._next_sequence, self._ring, self._hard_state, self._files)
        self._next_sequence += 1
        self._last_read = None

    def _copy(self, path: Path, data: bytes) -> None:
        """Rewrites the last segment of an earlier process to a new file.

        That process may have ended before its last flush, or because it failed. The kernel then shows pages that are on no disk
        but counts them as written, so neither another flush nor writing over them is sure to persist them. The copied bytes
        are the same, so no nonce is used for a second content.
        """
        replace_durably(self._files, write_temporary(self._files, path, [data]), path)

    def make_room(self, index: int) -> None:
        """Frees space before ``start_segment``: as ``release``, and if nothing else remains lets the new segment replace the last one."""
        self.release(index)
        if (
            self._last_read
            and self._closed
            and self._closed[0][0] == self._last_read[0]
            and self._closed[0][1] <= index
        ):
            self._closed.clear()
            self._next_sequence -= 1
            self._last_read = None

    def append(self, frame: Frame) -> None:
        """Returns when the frame is durable."""
        if self._writer is None:
            raise StorageError(f"{self._folder} is not open")
        if self._writer.size >= self._segment_bytes:
            self._roll(self._writer)
        self._writer.append(frame)
        if frame.hard_state:
            self._hard_state = frame.hard_state

    def release(self, index: int) -> None:
        """Removes the oldest segments that hold nothing above ``index``, which a durable snapshot must cover."""
        last = self._last_read and self._last_read[0]
        while self._closed and self._closed[0][1] <= index and self._closed[0][0] != last:
            self._files.unlink(self._closed.pop(0)[0])
            self._files.sync_folder(self._folder)

    def set_ring(self, ring: KeyRing) -> list[Path]:
        """Encrypts new segments with the ring's current key; returns the segments closed so far."""
        self._ring = ring
        if self._writer and self._writer.key_id != ring.current:
            self._roll(self._writer)
        return [path for path, _ in self._closed]

    def reencrypt(self, path: Path) -> Path | None:
        """As `reencrypt_segment`; None also if the segment was released meanwhile. Safe in any thread."""
        try:
            return reencrypt_segment(path, int(path.stem, 16), self._ring, self._files)
        except FileNotFoundError:
            return None

    def replace(self, path: Path, fresh: Path) -> None:
        """Replaces a closed segment by its re-encrypted copy, unless it was released meanwhile."""
        if any(closed == path for closed, _ in self._closed):
            replace_durably(self._files, fresh, path)
        else:
            self._files.unlink(fresh)

    def close(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer = None

    def _roll(self, writer: SegmentWriter) -> None:
        writer.finish()
        self._closed.append((writer.path, writer.last_index))
        self.start_segment()
        writer.close()

    @staticmethod
    def _require_consecutive(segments: list[tuple[int, Path]], position: int) -> None:
        if position and segments[position][0] != segments[position - 1][0] + 1:
            raise CorruptError(segments[position][1], 0, "the file before it is missing")


class _LogBuilder:
    """Builds the log from the frames of the segments."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.entries: list[Entry] = []
        self.base: tuple[int, int] | None = None
        self.highest = 0

    def read(self, path: Path, frames: Iterable[Frame]) -> None:
        """Adds the frames of one file; ``highest`` is then the highest index in that file."""
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
        """Entries replace those from their first index on. The first index may be below the oldest kept entry, because a snapshot
        covered the ones before.
        """
        first = entries[0].index
        if self.base and (first <= self.base[0] or (not self.entries and first != self.base[0] + 1)):
            raise CorruptError(path, 0, f"entry {first} does not continue the snapshot at entry {self.base[0]}")
        if self.entries:
            if first > self.entries[-1].index + 1:
                raise CorruptError(path, 0, f"entry {first} comes after entry {self.entries[-1].index}")
            del self.entries[max(0, first - self.entries[0].index) :]
        self.entries += entries
