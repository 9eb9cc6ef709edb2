"""Packs a local file or directory as a tar stream, piece by piece, with bounded memory."""

import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from cli.tar_content import file_content
from covey.errors import InvalidArgumentError

BLOCK = tarfile.BLOCKSIZE
END = b"\0" * (2 * BLOCK)


def pack(path: str, base: str, rename: Callable[[str], str], *, follow_link: bool) -> Iterator[bytes]:
    """The tar stream of a path. Entries are named ``base/...`` and then renamed. ``follow_link`` resolves the path itself, no other link.

    Raises:
        InvalidArgumentError: a file cannot be read, or it shrinks while it is read.
    """
    top = Path(path).resolve() if follow_link else Path(path.rstrip("/") or "/")
    with tarfile.TarFile(fileobj=io.BytesIO(), mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file, name in _walk(top, base):
            try:
                if stat.S_ISSOCK(file.lstat().st_mode):  # no archive holds one
                    continue
                info = archive.gettarinfo(file, arcname=rename(name))
            except OSError as error:
                raise InvalidArgumentError(f"cannot read {file}: {error.strerror}") from error
            yield info.tobuf(tarfile.PAX_FORMAT)
            if info.isreg():
                yield from file_content(file, info.size)
    yield END


def _walk(top: Path, base: str) -> Iterator[tuple[Path, str]]:
    """Files with their names in the archive, a directory before what is in it."""
    pending = [(top, base)]
    while pending:
        file, name = pending.pop()
        yield file, name
        if file.is_dir() and not file.is_symlink():
            try:
                inside = sorted(os.listdir(file), reverse=True)  # noqa: PTH208 - names are wanted
            except OSError as error:
                raise InvalidArgumentError(f"cannot read {file}: {error.strerror}") from error
            pending += [(file / entry, f"{name}/{entry}") for entry in inside]
