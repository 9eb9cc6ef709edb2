"""The content of a file as blocks of a tar stream, with bounded memory."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

from covey.errors import InvalidArgumentError

READ_BYTES = 1 << 20


def file_content(file: Path, size: int) -> Iterator[bytes]:
    """The bytes of a file of this size, filled up to whole blocks.

    Raises:
        InvalidArgumentError: the file cannot be read, or it shrinks while it is read.
    """
    left = size
    try:
        with file.open("rb") as opened:
            while left:
                data = opened.read(min(left, READ_BYTES))
                if not data:
                    raise InvalidArgumentError(f"{file} became shorter while it was read")
                left -= len(data)
                yield data
    except OSError as error:
        raise InvalidArgumentError(f"cannot read {file}: {error.strerror}") from error
    yield bytes(-size % tarfile.BLOCKSIZE)
