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
    """Crash states of recorded operations, each judged once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[tuple[object, CrashPoint]] = set()
        self.states = 0

    def over(
        self, ops: list, moments: list[CrashPoint], cabinet: DiskModel | None = None, *, mixes: int = MIXES
    ) -> Iterator[Image]:
        """Judges every state; gives those that were new."""
        cabinet = cabinet or DiskModel()
        for number, (op, moment) in enumerate(zip(ops, moments, strict=True)):
            cabinet.do(op)
            for choice in cabinet.choices(number, mixes):
                left = cabinet.cut_power(choice)
                key = (hash(tuple(sorted(left.items()))), moment)
                if key in self._seen:
                    continue
                self._seen.add(key)
                self._judge(left, moment, f"after operation {number} of {len(ops)} {words(op)}: {choice.words}")
                yield left

    def _judge(self, image: Image, moment: CrashPoint, where: str) -> None:
        self.states += 1
        root = self._folder / "state"
        write_image(image, root)
        try:
            check_folder(root, moment)
        except (LostError, StorageError, OSError) as error:
            files = "\n".join(f"  {name}: {'folder' if data is None else len(data)}" for name, data in image.items())
            raise LostError(f"{where}\n{type(error).__name__}: {error}\nof {moment}\nin\n{files}") from error
        finally:
            shutil.rmtree(root)


def words(op: tuple) -> str:
    return " ".join(f"{len(part)} bytes" if isinstance(part, bytes) else str(part) for part in op)


async def lived(root: Path, script: Script, files: type[RecordingFileOps] = RecordingFileOps) -> MemberHistory:
    root.mkdir(parents=True)
    life = MemberHistory(root, files(root))
    await script(life)
    return life


@pytest.mark.parametrize("script", [founder, follower, busy])
async def test_after_a_crash_at_any_operation_all_that_was_promised_is_there_and_nothing_else(
    memory: Path, script: Script
) -> None:
    began = time.monotonic()
    life = await lived(memory / "life", script)
    walk = CrashPointCheck(memory)
    for _ in walk.over(life.files.ops, life.moments()):
        pass
    print(f"{len(life.files.ops)} operations, {walk.states} states, {time.monotonic() - began:.1f} s")
    assert walk.states > 400


async def test_a_crash_while_a_start_mends_what_a_crash_left_is_mended_by_the_next_start(memory: Path) -> None:
    life = await lived(memory / "life", follower)
    walk = CrashPointCheck(memory)
    cabinet, moments = DiskModel(), life.moments()
    for number, (op, moment) in enumerate(zip(life.files.ops, moments, strict=True)):
        cabinet.do(op)
        if not moment.promised.member or number % 4:
            continue
        for choice in list(cabinet.choices(number, 1))[::3]:
            image = cabinet.cut_power(choice)
            root = memory / "start"
            write_image(image, root)
            files = RecordingFileOps(root)
            recover(root / "manager" / "raft", BOTH, files)
            shutil.rmtree(root)
            for _ in walk.over(files.ops, [moment] * len(files.ops), DiskModel(image), mixes=0):
                pass
    print(f"{walk.states} states")
    assert walk.states > 300


def started(image: Image, root: Path, *, more: bool) -> tuple[RecoveredState | None, list]:
    """What a start finds and does there; with ``more`` it writes on."""
    write_image(image, root)
    folder, files = root / "manager" / "raft", RecordingFileOps(root)
    found = recover(folder, BOTH, files, more=more) if is_member(folder) else None
    shutil.rmtree(root)
    return found, files.ops


@pytest.mark.parametrize("script", [founder, follower])
async def test_what_a_start_finds_after_a_kill_outlives_a_power_cut(memory: Path, script: Script) -> None:
    """1. The process dies between a write and its flush, or a rename and the flush of its folder: the kernel has it all. 2. The next one
    finds it, tells others, and perhaps writes on. 3. The power goes, also while it starts.
    """
    life = await lived(memory / "life", script)
    walk = CrashPointCheck(memory)
    for number, moment in enumerate(life.moments()):
        for more in (False, True):
            cabinet = DiskModel()
            for op in life.files.ops[: number + 1]:
                cabinet.do(op)
            found, ops = started(cabinet.cut_power(KEPT), memory / "start", more=more)
            if found is None:
                continue
            told = promised_by(found, moment.promised, more=more)
            for op in ops[:-1] if more else ():
                cabinet.do(op)
            rest = ops[-1:] if more else ops
            for _ in walk.over(rest, [*[moment] * (len(rest) - 1), told], cabinet, mixes=1):
                pass
    print(f"{walk.states} states")
    assert walk.states > 300


# Faults planted into the code under the walk: each must be found.


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


async def releases_too_early(life: MemberHistory) -> None:
    life.found()
    life.open()
    await life.append(2, 30, 1)
    life.disk._wal.release(20)
    await life.compact(20, 1, keep=0)
    life.close()


@pytest.mark.parametrize(
    ("files", "script"),
    [
        (ForgetsFolders, founder),
        (FlushesAfterRenaming, founder),
        (AcknowledgesBeforeFlushing, founder),
        (RecordingFileOps, releases_too_early),
    ],
)
async def test_the_walk_finds_a_planted_fault(memory: Path, files: type[FileOps], script: Script) -> None:
    life = await lived(memory / "life", script, files)
    with pytest.raises(LostError, match="after operation"):
        for _ in CrashPointCheck(memory).over(life.files.ops, life.moments()):
            pass
