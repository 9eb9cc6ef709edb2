"""Size of the files below a directory. Blocks on the disk: called in a thread."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def size_bytes(folder: Path) -> int:
    """The sum of the sizes of all files; hard links count once. What disappears meanwhile counts nothing."""
    total, seen, pending = 0, set[tuple[int, int]](), [str(folder)]
    while pending:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(found.st_mode):
                        pending.append(entry.path)
                    elif (found.st_dev, found.st_ino) not in seen:
                        if found.st_nlink > 1:
                            seen.add((found.st_dev, found.st_ino))
                        total += found.st_size
    return total
