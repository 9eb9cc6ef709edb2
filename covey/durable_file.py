"""Durable replacement of a file.

Invariant: after a crash the path has the old content or the new content, complete.
"""

import os
from pathlib import Path


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Replaces a file atomically and durably."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor with its mode
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
