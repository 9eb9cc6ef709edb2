"""Simulated disk of a manager: what was written, what was flushed, and what a power cut leaves.

Invariant: a log frame is there completely or not at all (its checksum ensures that), and a snapshot gets its name only
when its content is durable; everything else may be lost between any two steps. Replay (`wal`), recovery
(`log_recovery.recover_log`) and the log in memory are the real ones. Called by `simulated_manager`, one step per event.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

from manager.raft import log_recovery
from manager.raft.core import Entry, HardState, MemoryStorage, NotInLogError, Snapshot, SnapshotMeta
from manager.raft.log_recovery import without_data
from manager.raft.wal import Replay, _LogBuilder
from manager.raft.wal_segment import Frame
from tests.simulation.simulator.raft_invariants import require

Step = Callable[[], None]


class SimulatedSegment:
    """One segment of the log."""

    __slots__ = ("frames", "highest")

    def __init__(self, hard_state: HardState) -> None:
        self.frames = [Frame(hard_state=hard_state)]
        self.highest = 0


class SimulatedDisk:
    """`storage` is the driver's memory, lost with the process; `flushed` is what must survive a power cut."""

    def __init__(self, segment_frames: int) -> None:
        self.storage = MemoryStorage()
        self.flushed = MemoryStorage()
        self.snapshots: list[Snapshot] = []
        self._segments: list[SimulatedSegment] = []
        self._segment_frames = segment_frames
        self._written: Frame | None = None

    def create_group(self, snapshot: Snapshot) -> None:
        """Stores the bootstrap snapshot of a cluster."""
        self.snapshots.append(snapshot)

    # One write of a `Ready`, step by step.

    def save_steps(self, hard: HardState | None, entries: list[Entry], snapshot: Snapshot | None) -> list[Step]:
        """The steps of one write. A crash may come before any of them; after the last one everything is durable."""
        reset = (snapshot.metadata.index, snapshot.metadata.term) if snapshot else None
        frame = Frame(hard or self.storage.initial_state()[0], entries, reset)
        steps = [lambda: self._write(frame), self._flush]
        if len(self._segments[-1].frames) > self._segment_frames:
            steps.insert(0, self._roll)
        if snapshot:
            steps.insert(0, lambda: self._keep_snapshot(snapshot))
        return steps

    def _roll(self) -> None:
        self._segments.append(SimulatedSegment(self.flushed.initial_state()[0]))

    def _write(self, frame: Frame) -> None:
        self._written = frame

    def _flush(self) -> None:
        frame = self._written
        if frame is None:
            return
        self._written = None
        segment = self._segments[-1]
        segment.frames.append(frame)
        if frame.reset:
            base = next(s for s in self.snapshots if s.metadata.index == frame.reset[0])
            self.flushed.apply_snapshot(without_data(base))
        if frame.entries:
            segment.highest = max(segment.highest, frame.entries[-1].index)
            self.flushed.append(frame.entries)
        if frame.hard_state:
            self.flushed.set_hard_state(frame.hard_state)

    def finish_save(self, hard: HardState | None, entries: list[Entry], snapshot: Snapshot | None) -> None:
        """Makes the saved data readable in `storage`, as the driver's disk does."""
        if snapshot:
            self.storage.apply_snapshot(without_data(snapshot))
        self.storage.append(entries)
        if hard:
            self.storage.set_hard_state(hard)

    # The node's own snapshots.

    def snapshots_reach(self) -> int:
        """The index of the latest snapshot."""
        return self.snapshots[-1].metadata.index if self.snapshots else 0

    def compact_steps(self, take: Callable[[], Snapshot], *, keep_entries: int, keep_old: int) -> list[Step]:
        """The steps of a snapshot and compaction, in parallel with writes of the log. A crash may come between any two."""
        taken: list[Snapshot] = []
        return [
            lambda: taken.append(take()),
            lambda: self._keep_snapshot(taken[0]),
            lambda: self._compact(taken[0].metadata, keep_entries),
            self._release,
            self._release,
            lambda: self._prune(keep_old),
        ]

    def _keep_snapshot(self, snapshot: Snapshot) -> None:
        others = [s for s in self.snapshots if s.metadata.index != snapshot.metadata.index]
        self.snapshots = sorted([*others, snapshot], key=lambda s: s.metadata.index)

    def _compact(self, metadata: SnapshotMeta, keep_entries: int) -> None:
        if metadata.index < self.storage.first_index():
            return
        self.storage.create_snapshot(metadata.index, metadata.conf_state, b"")
        up_to = metadata.index - keep_entries
        if up_to >= self.storage.first_index():
            self.storage.compact(up_to)

    def _release(self) -> None:
        """Removes half of the removable segments, oldest first."""
        up_to = self.storage.first_index() - 1
        free = 0
        while free < len(self._segments) - 1 and self._segments[free].highest <= up_to:
            free += 1
        del self._segments[: (free + 1) // 2]

    def _prune(self, keep_old: int) -> None:
        del self.snapshots[: -1 - keep_old]

    def load(self, index: int) -> Snapshot:
        """The snapshot at an index to send, or the latest if that one is gone."""
        return next((s for s in self.snapshots if s.metadata.index == index), self.snapshots[-1])

    # Crash and recovery.

    def cut_power(self, *, keeps_written: bool) -> None:
        """Loses what was written but not flushed, or keeps it."""
        if keeps_written:
            self._flush()
        self._written = None

    def open(self) -> Snapshot | None:
        """Recovers as a restart does, by the real replay and recovery; returns the latest snapshot with its data."""
        log = _LogBuilder()
        for number, segment in enumerate(self._segments):
            log.read(Path(f"{number}.wal"), segment.frames)
        self._segments.append(SimulatedSegment(log.hard_state))
        snapshot = self.snapshots[-1] if self.snapshots else None
        replay = Replay(log.hard_state, log.entries, log.base)
        self.storage = log_recovery.recover_log(snapshot, replay)
        self._check_recovered(snapshot)
        reset = log_recovery.unlogged_reset(snapshot, replay)
        if reset:
            self._segments[-1].frames.append(Frame(self.storage.initial_state()[0], [], reset))
        self.flushed = copy.copy(self.storage)
        self.flushed._entries = list(self.storage._entries)
        return snapshot

    def _check_recovered(self, snapshot: Snapshot | None) -> None:
        """Nothing flushed is missing, unless a snapshot that contradicts it replaced it."""
        had, has = self.flushed.initial_state()[0], self.storage.initial_state()[0]
        require(
            (has.term, has.vote) == (had.term, had.vote) and has.commit >= had.commit,
            "flushed data survives",
            f"{had} was flushed, {has} came back",
        )
        last = self.flushed.last_index()
        if snapshot and not _matches(self.flushed, snapshot.metadata):
            return
        require(
            self.storage.last_index() >= last and self.storage.term(last) == self.flushed.term(last),
            "flushed data survives",
            f"the log reached entry {last}, after the start it ends at {self.storage.last_index()}",
        )

    def holds(self, entry: Entry) -> bool:
        """Whether this entry survives a power cut, in the log or covered by a snapshot."""
        flushed = self.flushed
        if entry.index <= flushed.first_index() - 1:
            return True
        try:
            return flushed.term(entry.index) == entry.term
        except NotInLogError:
            return False


def _matches(log: MemoryStorage, metadata: SnapshotMeta) -> bool:
    if metadata.index < log.first_index():
        return True
    return metadata.index <= log.last_index() and log.term(metadata.index) == metadata.term
