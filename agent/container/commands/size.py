"""`docker ps --size`: the bytes of a container's writable layer."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from agent.container.host import ContainerHost
from agent.filesystem.runtime_paths import is_runtime_path


async def writable_bytes(host: ContainerHost, ref: str) -> int:
    """The sizes of all files that the container wrote, each counted once."""
    record = host.index.find(ref)
    return await asyncio.to_thread(_tree_bytes, host.paths.folder(record.config.id) / "upper")


def _tree_bytes(root: Path) -> int:
    total, seen = 0, set()
    for folder, _, names in os.walk(root):
        prefix = "" if folder == str(root) else f"{os.path.relpath(folder, root)}/"
        for name in names:
            try:
                found = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - many files
            except OSError:
                continue  # it is gone meanwhile
            if is_runtime_path(prefix + name, found.st_mode, found.st_size, in_image=False):
                continue
            if found.st_nlink > 1:
                key = (found.st_dev, found.st_ino)
                if key in seen:
                    continue
                seen.add(key)
            total += found.st_size
    return total
