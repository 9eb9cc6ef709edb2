"""Packs changed files as one tar stream for the archive endpoint of the API, piece by piece, with bounded memory."""

import stat
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from cli.tar_content import file_content
from covey.errors import InvalidArgumentError

_TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


def pack_files(copies: Mapping[str, str]) -> Iterator[bytes]:
    """The archive of local paths by their absolute paths in the container. Owners are root.

    What has gone meanwhile is left out, and so are sockets and devices.

    Raises:
        InvalidArgumentError: a file cannot be read, or it shrinks while it is read.
    """
    for target, source in copies.items():
        path = Path(source)
        try:
            entry = _entry(path, target.lstrip("/") or ".")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InvalidArgumentError(f"cannot read {path}: {error.strerror}") from error
        if entry is not None:
            yield entry.tobuf(tarfile.PAX_FORMAT)
            if entry.isreg():
                yield from file_content(path, entry.size)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _entry(path: Path, name: str) -> tarfile.TarInfo | None:
    """The header of a file; whole seconds, because a fraction needs a second header for each file."""
    found = path.lstat()
    kind = _TYPES.get(stat.S_IFMT(found.st_mode))
    if kind is None:
        return None
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, stat.S_IMODE(found.st_mode), int(found.st_mtime)
    entry.size = found.st_size if kind == tarfile.REGTYPE else 0
    entry.linkname = str(path.readlink()) if kind == tarfile.SYMTYPE else ""
    return entry
