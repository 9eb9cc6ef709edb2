"""Atomic replacement of the Raft directory, STATE/manager/raft. Does not read the log. Blocking.

Invariant: the old directory stays until the new one is complete. ``raft.new`` is built beside it, with ``member.json`` last. Then ``raft``
becomes ``raft.old``, ``raft.new`` becomes ``raft``, and ``raft.old`` is deleted. A crash leaves the old state or the new one:
``finish_replacement``, which every start calls first, completes a replacement that began and deletes an incomplete one.
``raft.lost`` keeps the state of a membership that the group ended. Nothing here reads it.
Called by ``manager.bootstrap``; ``has_state`` and ``put_aside`` also by the daemon.
"""

import os
import shutil
from pathlib import Path


def staging_path(folder: Path) -> Path:
    """Where the new one is built."""
    return folder.with_name(f"{folder.name}.new")


def replace_with_staged(folder: Path) -> None:
    """The new one, which is whole and on disk, takes the place of the old one."""
    old = _old_beside(folder)
    if folder.exists():
        folder.rename(old)
    staging_path(folder).rename(folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def finish_replacement(folder: Path) -> bool:
    """Bring a swap that was cut short to one of its two ends. Whether ``folder`` is that of a member then."""
    fresh, old = staging_path(folder), _old_beside(folder)
    if not folder.exists() and _whole(fresh):
        replace_with_staged(folder)
    if fresh.exists():
        shutil.rmtree(fresh)
    if folder.exists() and old.exists():
        shutil.rmtree(old)
    return _whole(folder)


def has_state(folder: Path) -> bool:
    """Whether a manager that starts now finds a state to go on with; changes nothing."""
    return _whole(folder) or (not folder.exists() and _whole(staging_path(folder)))


def lost_beside(folder: Path) -> Path:
    """Where the state of a membership that is over is kept, the latest alone."""
    return folder.with_name(f"{folder.name}.lost")


def put_aside(folder: Path) -> Path | None:
    """Where the state lies now, for good when it returns; None if there was none, and then the one kept before stays. Cut short, it has
    done nothing or all: the log still in its place is put aside the next time.
    """
    if not finish_replacement(folder):
        return None
    lost = lost_beside(folder)
    if lost.exists():
        shutil.rmtree(lost)
    folder.rename(lost)
    _sync(folder.parent)
    return lost


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _old_beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old")


def _whole(folder: Path) -> bool:
    """``member.json`` is what a manager writes last."""
    return (folder / "member.json").exists()
