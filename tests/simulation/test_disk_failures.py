"""Disk failure at each operation of a Raft member in turn: the member stops and acknowledges nothing more.

The directory then opens with everything acknowledged, whether the unflushed data is lost, kept, or kept until a
restart has acknowledged it as well.
"""

import errno
import shutil
from pathlib import Path

import pytest

from manager.raft.disk import is_member
from manager.storage_errors import DISK_FULL_ERRNOS, StorageError, WriteFailedError
from tests.simulation.simulator.disk_model import DiskModel, PowerCutChoice, RecordingFileOps, write_image
from tests.simulation.simulator.member_history import (
    BOTH,
    CrashPoint,
    HardState,
    LostError,
    MemberHistory,
    check_folder,
    entries,
    promised_by,
    recover,
    snapshot,
)
from tests.simulation.test_disk_power_cuts import words

LOST = PowerCutChoice("all that was not flushed is lost", names=False, data=False)


async def short_life(life: MemberHistory) -> None:
    """Each kind of write once or twice."""
    life.found()
    life.open()
    await life.append(2, 9, 1)
    await life.compact(7, 1, keep=0)
    await life.save(HardState(2, 0, 15), [], snapshot(15, 2))
    await life.append(16, 17, 2)
    await life.reseal()
    await life.append(18, 18, 2)
    life.close()


async def until_it_fails(life: MemberHistory) -> StorageError | None:
    try:
        await short_life(life)
    except StorageError as error:
        return error
    return None


async def require_finality(life: MemberHistory) -> None:
    """The disk works again, and yet no save is taken: nobody knows what the failed one left."""
    if hasattr(life, "disk") and not life.disk._closed:
        with pytest.raises(WriteFailedError):
            await life.disk.begin_save(HardState(9, 9, 0), entries(50, 50, 9), None)
        life.close()


def as_the_disk_is(files: RecordingFileOps, number: int) -> DiskModel:
    """After the operation of that number failed, and whatever came besides."""
    cabinet = DiskModel()
    for op in files.ops[:number]:
        cabinet.do(op)
    if files.failed and files.failed[0] == "flush":
        cabinet.forget(files.failed[1])
    for op in files.ops[number:]:
        cabinet.do(op)
    return cabinet


def start_and_lose_power(cabinet: DiskModel, moment: CrashPoint, root: Path, folder: Path, where: str) -> None:
    """The daemon starts the member again at once, on what the kernel shows; it tells others what it finds; then the power goes."""
    again, lost = folder / "again", folder / "lost again"
    shutil.copytree(root, again)
    if is_member(again / "manager" / "raft"):
        files = RecordingFileOps(again)
        found = recover(again / "manager" / "raft", BOTH, files)
        for op in files.ops:
            cabinet.do(op)
        write_image(cabinet.cut_power(LOST), lost)
        try:
            check_folder(lost, promised_by(found, moment.promised))
        except (LostError, StorageError) as error:
            raise LostError(f"{where}, after a start that found all: {error}") from error
        shutil.rmtree(lost)
    shutil.rmtree(again)


def after(cabinet: DiskModel, moment: CrashPoint, root: Path, folder: Path, where: str) -> None:
    lost = folder / "lost"
    write_image(cabinet.cut_power(LOST), lost)
    start_and_lose_power(cabinet, moment, root, folder, where)
    for left in (lost, root):
        try:
            check_folder(left, moment)
        except (LostError, StorageError) as error:
            raise LostError(f"{where}, {left.name}: {error}") from error
        shutil.rmtree(left)


@pytest.mark.parametrize("number_of_error", [errno.EIO, errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
async def test_a_disk_that_fails_at_any_operation_ends_the_member_and_takes_nothing_that_was_promised(
    memory: Path, number_of_error: int
) -> None:
    number = 0
    while True:
        root = memory / "kept"
        root.mkdir()
        files = RecordingFileOps(root, fail_at=number, error=number_of_error)
        life = MemberHistory(root, files)
        error = await until_it_fails(life)
        if files.failed is None:
            assert error is None
            break
        where = f"operation {number} {words(files.failed)} fails"
        if error:
            assert isinstance(error, WriteFailedError), f"{where}: {error!r}"
            await require_finality(life)
        else:  # a start makes room and goes on
            assert number in life.opening, where
            assert number_of_error in DISK_FULL_ERRNOS, where
        after(as_the_disk_is(files, number), life.now, root, memory, where)
        number += 1
    assert number > 60
    print(f"{number} operations failed")
