"""Errors of a manager's files: damaged, encrypted with an unknown key, in use, or not writable."""

from __future__ import annotations

import errno
from pathlib import Path

DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)


class StorageError(Exception):
    """The manager's files cannot be used. The manager must not start, or must stop."""


class CorruptError(StorageError):
    """A file is damaged."""

    def __init__(self, path: Path, offset: int, reason: str) -> None:
        super().__init__(
            f"{path} is damaged at byte {offset}: {reason}. This manager cannot use it; remove the manager from the "
            "cluster and join it again, or restore the folder from a copy",
        )
        self.path = path
        self.offset = offset


class MissingKeyError(StorageError):
    """A file is encrypted with a data key that this manager does not have."""

    def __init__(self, path: Path, key_id: int, known: list[int]) -> None:
        super().__init__(
            f"{path} is encrypted with data key {key_id}, but this manager has only {', '.join(map(str, known))}: restore the key file "
            "that belongs to this directory, or remove the manager from the cluster and join it again"
        )
        self.path = path
        self.key_id = key_id


class InUseError(StorageError):
    """Another process uses the directory."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is used by another process; stop that manager first")
        self.path = path


class WriteFailedError(StorageError):
    """A write or flush failed. The content on disk is unknown from then on, so the write is never repeated."""

    def __init__(self, path: Path, cause: OSError) -> None:
        remedy = (
            "; free some space there, and the manager restarts by itself" if cause.errno in DISK_FULL_ERRNOS else ""
        )
        super().__init__(
            f"the disk of {path} failed: {cause.strerror or cause}; this manager stops so that nothing is lost{remedy}"
        )
        self.path = path
        self.full = bool(remedy)
