"""Power cut between any two disk operations of a Raft member, in every state that the disk may be left in.

Each state is written as a real directory and opened by the real code. A failure names the operation and the state, so
that they can be run alone.
"""

import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from manager.raft.disk import is_member
from manager.raft.file_ops import FileOps
from manager.storage_errors import StorageError
from tests.simulation.simulator.disk_model import DiskModel, Image, PowerCutChoice, RecordingFileOps, write_image
from tests.simulation.simulator.member_history import (
    BOTH,
    CrashPoint,
    LostError,
    MemberHistory,
    RecoveredState,
    busy,
    check_folder,
    follower,
    founder,
    promised_by,
    recover,
)

Script = Callable[[MemberHistory], Awaitable[None]]
MIXES = 8
KEPT = PowerCutChoice("all is kept", names=True, data=True)


class CrashPointCheck:
    """Checks each distinct crash state of recorded operations once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[tuple[object, CrashPoint]] = set()
        self.states = 0

    def over(
        self, ops: list, points: list[CrashPoint], disk_model: DiskModel | None = None, *, mixes: int = MIXES
    ) -> Iterator[Image]:
        """Checks every state; yields the new ones."""
        disk_model = disk_model or DiskModel()
        for number, (op, point) in enumerate(zip(ops, points, strict=True)):
            disk_model.do(op)
            for choice in disk_model.choices(number, mixes):
                left = disk_model.cut_power(choice)
                key = (hash(tuple(sorted(left.items()))), point)
                if key in self._seen:
                    continue
                self._seen.add(key)
                self._check(left, point, f"after operation {number} of {len(ops)} {words(op)}: {choice.words}")
                yield left

    def _check(self, image: Image, point: CrashPoint, where: str) -> None:
        self.states += 1
        root = self._folder / "state"
        write_image(image, root)
        try:
            check_folder(root, point)
        except (LostError, StorageError, OSError) as error:
            files = "\n".join(f"  {name}: {'folder' if data is None else len(data)}" for name, data in image.items())
            raise LostError(f"{where}\n{type(error).__name__}: {error}\nof {point}\nin\n{files}") from error
        finally:
            shutil.rmtree(root)


def words(op: tuple) -> str:
    return " ".join(f"{len(part)} bytes" if isinstance(part, bytes) else str(part) for part in op)


async def record(root: Path, script: Script, files: type[RecordingFileOps] = RecordingFileOps) -> MemberHistory:
    root.mkdir(parents=True)
    history = MemberHistory(root, files(root))
    await script(history)
    return history


@pytest.mark.parametrize("script", [founder, follower, busy])
async def test_after_a_crash_at_any_operation_all_that_was_promised_is_there_and_nothing_else(
    memory: Path, script: Script
) -> None:
    began = time.monotonic()
    history = await record(memory / "history", script)
    check_all = CrashPointCheck(memory)
    for _ in check_all.over(history.files.ops, history.points()):
        pass
    print(f"{len(history.files.ops)} operations, {check_all.states} states, {time.monotonic() - began:.1f} s")
    assert check_all.states > 400


async def test_a_crash_during_a_recovery_is_recovered_by_the_next_start(memory: Path) -> None:
    history = await record(memory / "history", follower)
    check_all = CrashPointCheck(memory)
    disk_model, points = DiskModel(), history.points()
    for number, (op, point) in enumerate(zip(history.files.ops, points, strict=True)):
        disk_model.do(op)
        if not point.promised.member or number % 4:
            continue
        for choice in list(disk_model.choices(number, 1))[::3]:
            image = disk_model.cut_power(choice)
            root = memory / "start"
            write_image(image, root)
            files = RecordingFileOps(root)
            recover(root / "manager" / "raft", BOTH, files)
            shutil.rmtree(root)
            for _ in check_all.over(files.ops, [point] * len(files.ops), DiskModel(image), mixes=0):
                pass
    print(f"{check_all.states} states")
    assert check_all.states > 300


def started(image: Image, root: Path, *, more: bool) -> tuple[RecoveredState | None, list]:
    """The state that a restart recovers, and its file operations; with ``more`` it appends an entry."""
    write_image(image, root)
    folder, files = root / "manager" / "raft", RecordingFileOps(root)
    found = recover(folder, BOTH, files, more=more) if is_member(folder) else None
    shutil.rmtree(root)
    return found, files.ops


@pytest.mark.parametrize("script", [founder, follower])
async def test_what_a_start_finds_after_a_kill_outlives_a_power_cut(memory: Path, script: Script) -> None:
    """1. The process is killed between a write and its flush, or between a rename and the directory's flush: the kernel has it all.
    2. The next process finds it, tells others, and perhaps appends. 3. The power fails, possibly during the start.
    """
    history = await record(memory / "history", script)
    check_all = CrashPointCheck(memory)
    for number, point in enumerate(history.points()):
        for more in (False, True):
            disk_model = DiskModel()
            for op in history.files.ops[: number + 1]:
                disk_model.do(op)
            found, ops = started(disk_model.cut_power(KEPT), memory / "start", more=more)
            if found is None:
                continue
            told = promised_by(found, point.promised, more=more)
            for op in ops[:-1] if more else ():
                disk_model.do(op)
            rest = ops[-1:] if more else ops
            for _ in check_all.over(rest, [*[point] * (len(rest) - 1), told], disk_model, mixes=1):
                pass
    print(f"{check_all.states} states")
    assert check_all.states > 300


# Planted faults: the check must find each of them.


class ForgetsFolders(RecordingFileOps):
    def sync_folder(self, folder: Path) -> None:
        if folder.name != "wal":
            super().sync_folder(folder)


class FlushesAfterRenaming(RecordingFileOps):
    def flush(self, fd: int) -> None:
        if "snapshots" not in self._paths[fd]:
            super().flush(fd)

    def rename(self, path: Path, to: Path) -> None:
        super().rename(path, to)
        self._note("flush", self._name(to))


class AcknowledgesBeforeFlushing(RecordingFileOps):
    def flush(self, fd: int) -> None:
        if not self._paths[fd].endswith(".wal"):
            super().flush(fd)


async def releases_too_early(history: MemberHistory) -> None:
    history.create_group()
    history.open()
    await history.append(2, 30, 1)
    history.disk._wal.release(20)
    await history.compact(20, 1, keep=0)
    history.close()


@pytest.mark.parametrize(
    ("files", "script"),
    [
        (ForgetsFolders, founder),
        (FlushesAfterRenaming, founder),
        (AcknowledgesBeforeFlushing, founder),
        (RecordingFileOps, releases_too_early),
    ],
)
async def test_the_check_finds_a_planted_fault(memory: Path, files: type[FileOps], script: Script) -> None:
    history = await record(memory / "history", script, files)
    with pytest.raises(LostError, match="after operation"):
        for _ in CrashPointCheck(memory).over(history.files.ops, history.points()):
            pass
