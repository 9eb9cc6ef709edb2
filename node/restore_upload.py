"""Upload of a backup for ``swarm restore``: a temporary, encrypted file in the state directory, removed afterwards."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from covey.errors import UnavailableError

_NAME = "restore.covey"


def discard_leftover(state_dir: Path) -> None:
    """Remove the upload of a daemon that stopped during a restore."""
    (state_dir / _NAME).unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def receive_backup(chunks: AsyncIterator[bytes], state_dir: Path) -> AsyncIterator[Path]:
    """Write the upload to a file, which is removed at the end of the block.

    Raises:
        UnavailableError: the file cannot be written.
    """
    path = state_dir / _NAME
    discard_leftover(state_dir)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor with its mode
            async for chunk in chunks:
                await asyncio.to_thread(file.write, chunk)
        yield path
    except OSError as error:
        raise UnavailableError(
            f"cannot store the backup in {state_dir} while it is restored: {error.strerror}"
        ) from error
    finally:
        path.unlink(missing_ok=True)
