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


async def short_life(history: MemberHistory) -> None:
    """Each kind of write once or twice."""
    history.create_group()
    history.open()
    await history.append(2, 9, 1)
    await history.compact(7, 1, keep=0)
    await history.save(HardState(2, 0, 15), [], snapshot(15, 2))
    await history.append(16, 17, 2)
    await history.reencrypt()
    await history.append(18, 18, 2)
    history.close()


async def until_it_fails(history: MemberHistory) -> StorageError | None:
    try:
        await short_life(history)
    except StorageError as error:
        return error
    return None


async def require_finality(history: MemberHistory) -> None:
    """The disk works again, but every save is refused, because the result of the failed one is unknown."""
    if hasattr(history, "disk") and not history.disk._closed:
        with pytest.raises(WriteFailedError):
            await history.disk.begin_save(HardState(9, 9, 0), entries(50, 50, 9), None)
        history.close()


def as_the_disk_is(files: RecordingFileOps, number: int) -> DiskModel:
    """The disk after the operation with that number failed, and what followed."""
    disk_model = DiskModel()
    for op in files.ops[:number]:
        disk_model.do(op)
    if files.failed and files.failed[0] == "flush":
        disk_model.forget(files.failed[1])
    for op in files.ops[number:]:
        disk_model.do(op)
    return disk_model


def start_and_lose_power(disk_model: DiskModel, point: CrashPoint, root: Path, folder: Path, where: str) -> None:
    """The daemon restarts the member at once with what the kernel shows; it tells others what it finds; then the power fails."""
    again, lost = folder / "again", folder / "lost again"
    shutil.copytree(root, again)
    if is_member(again / "manager" / "raft"):
        files = RecordingFileOps(again)
        found = recover(again / "manager" / "raft", BOTH, files)
        for op in files.ops:
            disk_model.do(op)
        write_image(disk_model.cut_power(LOST), lost)
        try:
            check_folder(lost, promised_by(found, point.promised))
        except (LostError, StorageError) as error:
            raise LostError(f"{where}, after a start that found all: {error}") from error
        shutil.rmtree(lost)
    shutil.rmtree(again)


def after(disk_model: DiskModel, point: CrashPoint, root: Path, folder: Path, where: str) -> None:
    lost = folder / "lost"
    write_image(disk_model.cut_power(LOST), lost)
    start_and_lose_power(disk_model, point, root, folder, where)
    for left in (lost, root):
        try:
            check_folder(left, point)
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
        history = MemberHistory(root, files)
        error = await until_it_fails(history)
        if files.failed is None:
            assert error is None
            break
        where = f"operation {number} {words(files.failed)} fails"
        if error:
            assert isinstance(error, WriteFailedError), f"{where}: {error!r}"
            await require_finality(history)
        else:  # a start on a full disk frees space and continues
            assert number in history.opening, where
            assert number_of_error in DISK_FULL_ERRNOS, where
        after(as_the_disk_is(files, number), history.now, root, memory, where)
        number += 1
    assert number > 60
    print(f"{number} operations failed")
