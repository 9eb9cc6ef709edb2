"""Writes an archive that the daemon sends: to a file that appears when it is complete, or to stdout."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from covey.errors import InvalidArgumentError


def write_archive(output: str | None, chunks: Iterator[bytes], verb: str) -> None:
    """Write to the file, or to stdout if there is none.

    Raises:
        InvalidArgumentError: stdout is a terminal.
    """
    if output is None:
        if sys.stdout.isatty():
            raise InvalidArgumentError(
                f"cowardly refusing to {verb} to a terminal. Use the -o flag or redirect the output"
            )
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    _write_atomically(Path(output), chunks)


def _write_atomically(path: Path, chunks: Iterator[bytes]) -> None:
    """Write a file that appears only when it is complete."""
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            for chunk in chunks:
                device.write(chunk)
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fchmod(file.fileno(), 0o600)
            Path(file.name).rename(path)
        except BaseException:
            Path(file.name).unlink()
            raise
