"""Text files and standard input, within the size limit of a Compose file."""

import sys
from pathlib import Path

from compose.yaml_reader import MAX_BYTES
from covey.errors import InvalidArgumentError, TooLargeError


def read_stdin() -> str:
    """The text of standard input, up to one character more than the limit."""
    return sys.stdin.read(MAX_BYTES + 1)


def require_below(path: Path, root: Path | None) -> None:
    """Check that a file is below a directory, also after its links are followed. No directory means no limit.

    Raises:
        InvalidArgumentError: it is outside.
    """
    if root is not None and not path.resolve().is_relative_to(root.resolve()):
        raise InvalidArgumentError(f"{path} is outside {root}: only files of the repository are read")


def read_text(path: Path, root: Path | None = None) -> str:
    """The text of a file, which must be below ``root`` if that is given.

    Raises:
        OSError: it cannot be read.
        InvalidArgumentError: not UTF-8, or outside.
        TooLargeError: larger than 1 MiB.
    """
    require_below(path, root)
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise TooLargeError(f"{path} is larger than {MAX_BYTES >> 20} MiB")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path} is not UTF-8 text") from error
