"""Upload of a backup for ``swarm restore``: a temporary, encrypted file in the state directory, removed afterwards."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from covey.errors import UnavailableError

_NAME = "restore.covey"


def discard_leftover(folder: Path) -> None:
    """What a daemon left that died while it restored: nobody else needs it, or removes it."""
    (folder / _NAME).unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def receive_backup(chunks: AsyncIterator[bytes], folder: Path) -> AsyncIterator[Path]:
    """The file, gone after the block.

    Raises:
        UnavailableError: the disk does not take it.
    """
    path = folder / _NAME
    discard_leftover(folder)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor with its mode
            async for chunk in chunks:
                await asyncio.to_thread(file.write, chunk)
        yield path
    except OSError as error:
        raise UnavailableError(
            f"the backup cannot be kept in {folder} while it is restored: {error.strerror}"
        ) from error
    finally:
        path.unlink(missing_ok=True)
