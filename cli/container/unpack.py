"""Unpacks a tar stream from a container into a local directory.

Invariant: nothing is written outside of the directory, whatever the archive says: names with ``..`` are refused, and no path is followed
through a symbolic link that leads out of the directory.
"""

import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from cli.container.copy_paths import CopyPlan
from covey.errors import CoveyError

READ_BYTES = 1 << 20


class ChunkReader:
    """A readable file over chunks. ``count`` is the number of bytes that were read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        parts: list[bytes] = []
        left = size
        while left:
            if not self._rest:
                chunk = next(self._chunks, b"")
                if not chunk:
                    break
                self._rest = memoryview(chunk)
                self.count += len(chunk)
            taken = self._rest if left < 0 else self._rest[:left]
            self._rest = self._rest[len(taken) :]
            parts.append(bytes(taken))
            left -= len(taken) if left > 0 else 0
        return b"".join(parts)


def unpack(reader: ChunkReader, plan: CopyPlan, *, keep_owner: bool) -> None:
    """Unpack all entries. ``keep_owner`` gives files the owner they have in the archive; else they belong to the caller.

    Raises:
        CoveyError: an entry would leave the directory, or a file cannot be written.
    """
    root = Path(plan.directory)
    directories: list[tuple[Path, tarfile.TarInfo]] = []
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", reader), mode="r|*") as archive:
            for entry in archive:
                path = _place(root, plan.renamed(entry.name.rstrip("/")))
                _write(archive, entry, path, _place(root, plan.renamed(entry.linkname)) if entry.islnk() else None)
                if entry.isdir():
                    directories.append((path, entry))
                else:
                    _set_attributes(path, entry, keep_owner=keep_owner)
        for path, entry in reversed(directories):
            _set_attributes(path, entry, keep_owner=keep_owner)
    except OSError as error:
        raise CoveyError(f"cannot write {error.filename or plan.directory}: {error.strerror or error}") from error
    except tarfile.TarError as error:
        raise CoveyError(f"the archive from the container cannot be read: {error}") from error


def _place(root: Path, name: str) -> Path:
    """The path of an entry below the root.

    Raises:
        CoveyError: it would be outside.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or name.startswith("/"):
        raise CoveyError(f"the archive from the container has an entry outside of its directory: {name!r}")
    path = root.joinpath(*parts)
    real_root = os.path.realpath(root)
    parent = os.path.realpath(path.parent if parts else path)
    if os.path.commonpath((real_root, parent)) != real_root:
        raise CoveyError(f"the archive from the container leads out of its directory by a link: {name!r}")
    return path


def _write(archive: tarfile.TarFile, entry: tarfile.TarInfo, path: Path, link: Path | None) -> None:
    if entry.isdir():
        if path.is_dir():
            return
        if path.is_symlink() or path.exists():
            raise CoveyError(f"cannot overwrite non-directory {path} with a directory")
        path.mkdir(mode=0o700, parents=True)
        return
    if path.is_dir() and not path.is_symlink():
        raise CoveyError(f"cannot overwrite directory {path} with a file")
    path.unlink(missing_ok=True)
    if entry.issym():
        path.symlink_to(entry.linkname)
    elif link is not None:
        os.link(link, path, follow_symlinks=False)
    elif entry.isfifo():
        os.mkfifo(path)
    elif entry.ischr() or entry.isblk():
        kind = stat.S_IFCHR if entry.ischr() else stat.S_IFBLK
        os.mknod(path, kind | 0o600, os.makedev(entry.devmajor, entry.devminor))
    else:
        content = archive.extractfile(entry)
        with path.open("xb") as file:
            shutil.copyfileobj(cast("Any", content), file, READ_BYTES)


def _set_attributes(path: Path, entry: tarfile.TarInfo, *, keep_owner: bool) -> None:
    if keep_owner:
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
    if not entry.issym() and not entry.islnk():
        path.chmod(stat.S_IMODE(entry.mode))
    if not entry.islnk():
        os.utime(path, (entry.mtime, entry.mtime), follow_symlinks=False)
