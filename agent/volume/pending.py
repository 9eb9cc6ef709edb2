"""Volumes of a container that is being created: a file for each says what to undo if the daemon dies before it is done.

ROOT.pending/ID. Invariant: the file is there from before the first change until the container is recorded.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import msgspec


class PendingCreation(msgspec.Struct, frozen=True):
    """`created` are volumes that did not exist before. `filled` are empty ones that get the image's files."""

    created: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()


class PendingCreations:
    """The files of one volume store."""

    def __init__(self, root: Path) -> None:
        self._folder = root.with_name(f"{root.name}.pending")

    def write(self, container_id: str, pending: PendingCreation) -> None:
        """Replace what is to be undone for a container."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / container_id
        temporary = path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(pending))
        temporary.replace(path)

    def forget(self, container_id: str) -> None:
        (self._folder / container_id).unlink(missing_ok=True)

    def interrupted(self, container_ids: Collection[str]) -> list[PendingCreation]:
        """Those of containers that do not exist."""
        if not self._folder.is_dir():
            return []
        return [
            msgspec.json.decode(path.read_bytes(), type=PendingCreation)
            for path in sorted(self._folder.iterdir())
            if path.suffix != ".new" and path.name not in container_ids
        ]

    def clear(self) -> None:
        """Forget all, once they are undone."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                path.unlink(missing_ok=True)
