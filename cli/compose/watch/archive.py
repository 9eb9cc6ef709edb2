"""Packs changed files as one tar stream for the archive endpoint of the API, piece by piece, with bounded memory."""

import io
import stat
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from cli.tar_content import file_content
from covey.errors import InvalidArgumentError


def pack_files(copies: Mapping[str, str]) -> Iterator[bytes]:
    """The archive of local paths by their absolute paths in the container. Owners are root; what has gone meanwhile is left out.

    Raises:
        InvalidArgumentError: a file cannot be read, or it shrinks while it is read.
    """
    with tarfile.TarFile(fileobj=io.BytesIO(), mode="w", format=tarfile.PAX_FORMAT) as archive:
        for target, source in copies.items():
            path = Path(source)
            try:
                if stat.S_ISSOCK(path.lstat().st_mode):  # no archive holds one
                    continue
                entry = archive.gettarinfo(path, arcname=target.lstrip("/") or ".")
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise InvalidArgumentError(f"cannot read {path}: {error.strerror}") from error
            if entry.islnk():  # the other name may not be in the container
                entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", path.stat().st_size
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            yield entry.tobuf(tarfile.PAX_FORMAT)
            if entry.isreg():
                yield from file_content(path, entry.size)
    yield bytes(2 * tarfile.BLOCKSIZE)
