"""Text files and standard input, within the size limit of a Compose file."""

import sys
from pathlib import Path

from compose.yaml_reader import MAX_BYTES
from covey.errors import InvalidArgumentError, TooLargeError


def read_stdin() -> str:
    """The text of standard input, up to one character more than the limit."""
    return sys.stdin.read(MAX_BYTES + 1)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        OSError: it cannot be read.
        InvalidArgumentError: not UTF-8.
        TooLargeError: larger than 1 MiB.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise TooLargeError(f"{path} is larger than {MAX_BYTES >> 20} MiB")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path} is not UTF-8 text") from error
