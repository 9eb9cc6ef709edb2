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
    """Path where the new directory is built."""
    return folder.with_name(f"{folder.name}.new")


def replace_with_staged(folder: Path) -> None:
    """Replaces the directory with the staged one, which must be complete and durable."""
    old = _old_path(folder)
    if folder.exists():
        folder.rename(old)
    staging_path(folder).rename(folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def finish_replacement(folder: Path) -> bool:
    """Completes or undoes a replacement that a crash interrupted. Returns whether the directory holds a member's state."""
    fresh, old = staging_path(folder), _old_path(folder)
    if not folder.exists() and _is_complete(fresh):
        replace_with_staged(folder)
    if fresh.exists():
        shutil.rmtree(fresh)
    if folder.exists() and old.exists():
        shutil.rmtree(old)
    return _is_complete(folder)


def has_state(folder: Path) -> bool:
    """Whether a manager that starts now finds a state to continue with. Changes nothing."""
    return _is_complete(folder) or (not folder.exists() and _is_complete(staging_path(folder)))


def lost_path(folder: Path) -> Path:
    """Path of the state of the last membership that ended."""
    return folder.with_name(f"{folder.name}.lost")


def put_aside(folder: Path) -> Path | None:
    """Renames the directory to ``raft.lost`` durably and returns the new path. Returns None if there was no state; an earlier ``raft.lost``
    then stays. After a crash the directory is unchanged or renamed.
    """
    if not finish_replacement(folder):
        return None
    lost = lost_path(folder)
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


def _old_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old")


def _is_complete(folder: Path) -> bool:
    """``member.json`` is the last file that a manager writes."""
    return (folder / "member.json").exists()
