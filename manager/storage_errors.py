"""Errors of a manager's files: damaged, encrypted with an unknown key, in use, or not writable."""

from __future__ import annotations

import errno
from pathlib import Path

DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)


class StorageError(Exception):
    """The node's files cannot be used; the manager must not start, or must stop."""


class CorruptError(StorageError):
    """A file does not hold what was written."""

    def __init__(self, path: Path, offset: int, reason: str) -> None:
        super().__init__(
            f"{path} is damaged at byte {offset}: {reason}. This manager cannot use it; remove the manager from the "
            "cluster and join it again, or restore the folder from a copy",
        )
        self.path = path
        self.offset = offset


class MissingKeyError(StorageError):
    """A file is sealed with a data key that this manager does not hold."""

    def __init__(self, path: Path, key_id: int, known: list[int]) -> None:
        super().__init__(
            f"{path} is sealed with data key {key_id}, but this manager holds only {', '.join(map(str, known))}: put back the "
            "keys that belong to this folder, or remove the manager from the cluster and join it again"
        )
        self.path = path
        self.key_id = key_id


class InUseError(StorageError):
    """Another process holds the folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is used by another process; stop that manager first")
        self.path = path


class WriteFailedError(StorageError):
    """A write or flush failed. What is on the disk is unknown from then on, so it is never tried again."""

    def __init__(self, path: Path, cause: OSError) -> None:
        remedy = "; make room there, and it comes back by itself" if cause.errno in DISK_FULL_ERRNOS else ""
        super().__init__(
            f"the disk of {path} failed: {cause.strerror or cause}; this manager stops so that nothing is lost{remedy}"
        )
        self.path = path
        self.full = bool(remedy)
