"""Forward-only tar reader for archives that are not trusted: bounds headers, entries and paths.

Runs in the unpack process, for the outer archive and for each layer.
"""

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, cast

from agent.image.content.streams import CHUNK_BYTES, Readable
from covey.errors import InvalidArgumentError, TooLargeError

HEADER_LIMIT_BYTES = 1 << 20
PATH_LIMIT_BYTES = 4096

_EXTENSION_TYPES = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)


class BoundedTarInfo(tarfile.TarInfo):
    """A tar header with bounded extension records and no negative size.

    tarfile itself would read any announced size into memory, and read a header with a negative size again and again.
    """

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENSION_TYPES and not 0 <= self.size <= HEADER_LIMIT_BYTES:
            raise TooLargeError(
                f"an extended tar header of {self.size} bytes exceeds the limit of {HEADER_LIMIT_BYTES}"
            )
        if self.size < 0:
            raise tarfile.ReadError("an entry has a negative size")
        member = cast("tarfile.TarInfo", super()._proc_member(archive))  # type: ignore[misc]
        if member.size < 0:  # by an extended header
            raise tarfile.ReadError("an entry has a negative size")
        return member


def open_tar(source: Readable) -> tarfile.TarFile:
    """A forward-only tar reader of an uncompressed stream."""
    return tarfile.open(
        fileobj=cast("BinaryIO", source),
        mode="r|",
        bufsize=CHUNK_BYTES,
        tarinfo=BoundedTarInfo,
        encoding="utf-8",
        errors="surrogateescape",
    )


def members(archive: tarfile.TarFile, limit: int, what: str) -> Iterator[tarfile.TarInfo]:
    """The entries of a forward-only tar, in constant memory. Raises TooLargeError when there are more than `limit`."""
    count = 0
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]
        count += 1
        if count > limit:
            raise TooLargeError(f"{what} has more than {limit} entries")
        yield member


def clean_path(name: str, what: str) -> tuple[str, ...]:
    """The components of an entry's path, empty for the root. Raises on `..`, NUL bytes and paths that are too long."""
    if len(os.fsencode(name)) > PATH_LIMIT_BYTES or "\0" in name:
        raise InvalidArgumentError(f"{what} has an entry with an impossible path: {name[:80]!r}")
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if ".." in parts:
        raise InvalidArgumentError(f"{what} has an entry with a path outside its root: {name!r}")
    return parts
