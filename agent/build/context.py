"""Unpacks a build's context, which is not trusted, and reads its Dockerfile.

Invariant: no entry of the archive leads out of the folder, and no symlink in it is followed out of it.
"""

import asyncio
import os
import posixpath
import stat
from collections.abc import AsyncIterator
from pathlib import Path

from agent.build.context_digest import ContextDigest
from agent.filesystem import process
from agent.filesystem.protocol import FileRequest
from agent.image.content.linux_syscalls import open_in_root
from covey.errors import InvalidArgumentError, TooLargeError

CONTEXT_LIMIT_BYTES = 32 << 30
FILE_LIMIT_BYTES = 4 << 20
HELD_BYTES = 1 << 20
IGNORE_FILE = ".dockerignore"


async def unpack_context(source: AsyncIterator[bytes], folder: Path) -> None:
    """Unpack a tar, which may be compressed, into an empty folder. Raises InvalidArgumentError or TooLargeError.

    The folder must be alone in the one above it, because a symlink may lead there, though no further.
    """
    root = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        await process.write(
            FileRequest("write", "of the build", path=f"/{folder.name}", root_fd=root),
            _bounded(source, CONTEXT_LIMIT_BYTES),
        )
    finally:
        os.close(root)


class ContextInput:
    """The tar of a context as it comes, with its digest. A small one is held in memory, so that it need not be unpacked to be known."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source
        self._digest = ContextDigest()
        self._held: list[bytes] = []

    async def is_small(self) -> bool:
        """Whether the tar has at most `HELD_BYTES`; then all of it has come and `digest` is that of the whole."""
        size = 0
        async for chunk in self._source:
            self._digest.update(chunk)
            self._held.append(chunk)
            size += len(chunk)
            if size > HELD_BYTES:
                return False
        return True

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of the tar, once."""
        while self._held:
            yield self._held.pop(0)
        async for chunk in self._source:
            self._digest.update(chunk)
            yield chunk

    @property
    def digest(self) -> str:
        """The digest of what has come so far."""
        return self._digest.hexdigest()


async def read_dockerfile(folder: Path, name: str) -> bytes:
    """The Dockerfile of a context. Raises InvalidArgumentError in Docker's words."""
    path = posixpath.normpath(name or "Dockerfile")
    if path.startswith(("../", "/")) or path in {"..", "."}:
        raise InvalidArgumentError(f"Forbidden path outside the build context: {name}")
    data = await asyncio.to_thread(_read, folder, path)
    if data is None:
        raise InvalidArgumentError(f"Cannot locate specified Dockerfile: {name or 'Dockerfile'}")
    return data


async def read_ignore_file(folder: Path, dockerfile: str) -> bytes:
    """The patterns of `.dockerignore`, or of the file beside the Dockerfile with its name; empty without one."""
    for name in (f"{posixpath.normpath(dockerfile)}{IGNORE_FILE}", IGNORE_FILE):
        data = await asyncio.to_thread(_read, folder, name)
        if data is not None:
            return data
    return b""


def _read(folder: Path, path: str) -> bytes | None:
    """A file below the folder, None if there is none. Symlinks are followed inside the folder."""
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = open_in_root(root, path, os.O_PATH)
    except OSError:
        return None
    finally:
        os.close(root)
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):  # to open a device may do something
            raise InvalidArgumentError(f"{path} in the build context is not a regular file")
        with Path(f"/proc/self/fd/{found}").open("rb") as opened:
            data = opened.read(FILE_LIMIT_BYTES + 1)
    finally:
        os.close(found)
    if len(data) > FILE_LIMIT_BYTES:
        raise TooLargeError(f"{path} in the build context is larger than {FILE_LIMIT_BYTES} bytes")
    return data


async def _bounded(source: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in source:
        size += len(chunk)
        if size > limit:
            raise TooLargeError(f"the build context is larger than {limit} bytes")
        yield chunk
