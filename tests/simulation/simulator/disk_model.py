"""Recorder of a Raft member's file operations, and a model of the disk states that a power cut can leave.

Invariant of the model: a file's content is durable once its flush returned, and a name once its directory's flush
returned; neither implies the other. Of what is not durable any subset may remain: any names, any sectors of the data. A
rename happens completely or not at all. Takes the place of ``manager.raft.file_ops.REAL_FILE_OPS``.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from manager.raft.file_ops import FileOps

SECTOR = 512
Op = tuple[Any, ...]
Image = dict[str, bytes | None]
"""Maps each path to its content; None is a directory."""


class UnsyncedFileOps(FileOps):
    """Real files without flushes, for directories that no power cut will affect."""

    def flush(self, fd: int) -> None: ...

    def sync_folder(self, folder: Path) -> None: ...


class RecordingFileOps(UnsyncedFileOps):
    """Does everything in a real directory and records it. ``fail_at`` is the number of the operation that fails."""

    def __init__(self, root: Path, fail_at: int = -1, error: int = errno.EIO) -> None:
        self.root = root
        self.ops: list[Op] = []
        self.failed: Op | None = None
        self._fail_at, self._error = fail_at, error
        self._paths: dict[int, str] = {}
        self._lock = threading.RLock()

    def _note(self, *op: Any) -> None:
        if len(self.ops) == self._fail_at and not self.failed:
            self.failed = op
            raise OSError(self._error, os.strerror(self._error))
        self.ops.append(op)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def mkdir(self, folder: Path) -> None:
        with self._lock:
            self._note("mkdir", self._name(folder))
            super().mkdir(folder)

    def create(self, path: Path) -> int:
        with self._lock:
            self._note("create", self._name(path))
            fd = super().create(path)
            self._paths[fd] = self._name(path)
            return fd

    def reopen(self, path: Path) -> int:
        with self._lock:
            fd = super().reopen(path)
            self._paths[fd] = self._name(path)
            return fd

    def write(self, fd: int, data: bytes, offset: int) -> None:
        with self._lock:
            try:
                self._note("write", self._paths[fd], offset, bytes(data))
            except OSError:  # the disk wrote a part before it failed
                self.ops.append(("write", self._paths[fd], offset, bytes(data[: len(data) // 2])))
                super().write(fd, data[: len(data) // 2], offset)
                raise
            super().write(fd, data, offset)

    def truncate(self, fd: int, size: int) -> None:
        with self._lock:
            self._note("truncate", self._paths[fd], size)
            super().truncate(fd, size)

    def flush(self, fd: int) -> None:
        with self._lock:
            self._note("flush", self._paths[fd])

    def rename(self, path: Path, to: Path) -> None:
        with self._lock:
            self._note("rename", self._name(path), self._name(to))
            super().rename(path, to)
            self._paths = {fd: self._name(to) if name == self._name(path) else name for fd, name in self._paths.items()}

    def unlink(self, path: Path) -> None:
        with self._lock:
            self._note("unlink", self._name(path))
            super().unlink(path)

    def sync_folder(self, folder: Path) -> None:
        with self._lock:
            if folder.is_relative_to(self.root):  # directories above exist already
                self._note("sync", self._name(folder))


class _Inode:
    def __init__(self, durable: bytes = b"") -> None:
        self.durable = durable
        self.pending: list[tuple[int, bytes | None]] = []  # (offset, data), or (size, None) for a truncation

    def content(self, kept: list[tuple[int, bytes | None]]) -> bytes:
        data = bytearray(self.durable)
        for offset, piece in kept:
            if piece is None:
                data[offset:] = bytes(max(0, offset - len(data)))
            else:
                data.extend(bytes(max(0, offset - len(data))))
                data[offset : offset + len(piece)] = piece
        return bytes(data)

    def flush(self) -> None:
        self.durable, self.pending = self.content(self.pending), []


Names = dict[str, "_Inode | _Folder"]


class _Folder:
    def __init__(self) -> None:
        self.durable: Names = {}
        self.now: Names = {}
        self.pending: list[Op] = []  # ("link", name, what) ("rename", old, new, what) ("unlink", name)

    def change(self, *op: Any) -> None:
        self.pending.append(op)
        _apply(self.now, op)

    def sync(self) -> None:
        self.durable, self.pending = dict(self.now), []


def _apply(names: Names, op: Op) -> None:
    match op:
        case ("link", name, what):
            names[name] = what
        case ("rename", old, new, what):
            names.pop(old, None)
            names[new] = what
        case ("unlink", name):
            names.pop(name, None)


class PowerCutChoice:
    """What a power cut leaves of the data and names that are not durable."""

    def __init__(self, words: str, *, names: bool | Random, data: bool | Random | int, only: int | None = None) -> None:
        """``data`` as a number keeps that many bytes of the last write of each file, and all earlier writes. ``only`` is the number of
        the one name change that is lost.
        """
        self.words, self._names, self._data, self._only = words, names, data, only

    def names(self, pending: list[Op]) -> list[Op]:
        if self._only is not None:
            return [op for number, op in enumerate(pending) if number != self._only]
        if isinstance(self._names, Random):
            return [op for op in pending if self._names.random() < 0.5]
        return pending if self._names else []

    def data(self, pending: list[tuple[int, bytes | None]]) -> list[tuple[int, bytes | None]]:
        if not pending or self._data is True:
            return pending
        if self._data is False:
            return []
        if isinstance(self._data, Random):
            return list(_sectors(pending, self._data))
        offset, piece = pending[-1]
        return pending[:-1] if piece is None else [*pending[:-1], (offset, piece[: self._data])]


def _sectors(pending: list[tuple[int, bytes | None]], rng: Random) -> Iterator[tuple[int, bytes | None]]:
    for offset, piece in pending:
        if piece is None:
            if rng.random() < 0.5:
                yield offset, None
            continue
        start = 0
        step = SECTOR if len(piece) < 8 * SECTOR else len(piece) // 8
        while start < len(piece):
            end = min(len(piece), (offset + start) // step * step + step - offset)
            if rng.random() < 0.5:
                yield offset + start, piece[start:end]
            start = end


class DiskModel:
    """Durable and current content of the disk."""

    def __init__(self, image: Image | None = None) -> None:
        self.root = _Folder()
        for path, content in sorted((image or {}).items()):
            folder, name = self._at(path)
            folder.now[name] = _Folder() if content is None else _Inode(content)
        self._sync_all(self.root)

    def _sync_all(self, folder: _Folder) -> None:
        folder.sync()
        for what in folder.now.values():
            if isinstance(what, _Folder):
                self._sync_all(what)

    def _folder(self, path: str) -> _Folder:
        folder = self.root
        for part in [part for part in path.split("/") if part not in ("", ".")]:
            folder = folder.now[part]
        return folder

    def _at(self, path: str) -> tuple[_Folder, str]:
        above, _, name = path.rpartition("/")
        return self._folder(above), name

    def do(self, op: Op) -> None:
        kind, path = op[0], op[1]
        if kind == "sync":
            self._folder(path).sync()
            return
        folder, name = self._at(path)
        match kind:
            case "mkdir":
                folder.change("link", name, _Folder())
            case "create" if name in folder.now:
                folder.now[name].pending.append((0, None))
            case "create":
                folder.change("link", name, _Inode())
            case "write":
                folder.now[name].pending.append((op[2], op[3]))
            case "truncate":
                folder.now[name].pending.append((op[2], None))
            case "flush":
                folder.now[name].flush()
            case "rename":
                folder.change("rename", name, op[2].rpartition("/")[2], folder.now[name])
            case "unlink":
                folder.change("unlink", name)

    def forget(self, path: str) -> None:
        """A flush of the file failed: the kernel shows the written data, counts it as clean, and never writes it."""
        folder, name = self._at(path)
        folder.now[name].pending = []

    def choices(self, seed: int, mixes: int) -> Iterator[PowerCutChoice]:
        """The power cuts that are worth a check in the present state."""
        yield PowerCutChoice("all that was not flushed is lost", names=False, data=False)
        if not (names := self._most(self.root, lambda f: len(f.pending))) and not self._last_write():
            return
        yield PowerCutChoice("all is kept", names=True, data=True)
        yield PowerCutChoice("names without data", names=True, data=False)
        yield PowerCutChoice("data without names", names=False, data=True)
        size = self._last_write()
        for cut in sorted({1, 12, 16, 17, size // 4, size // 2, 3 * size // 4, size - 1} & set(range(1, size))):
            yield PowerCutChoice(f"torn after {cut} bytes", names=True, data=cut)
        if names > 1:
            for number in range(names):
                yield PowerCutChoice(f"name change {number} alone is lost", names=True, data=True, only=number)
        for number in range(mixes):
            rng = Random(f"{seed}-{number}")  # noqa: S311 - repeatable
            yield PowerCutChoice(f"mix {seed}-{number}", names=rng, data=rng)

    def _most(self, folder: _Folder, measure: Any) -> int:
        below = [self._most(what, measure) for what in folder.now.values() if isinstance(what, _Folder)]
        return max([measure(folder), *below])

    def _last_write(self) -> int:
        def longest(folder: _Folder) -> int:
            files = [what for what in folder.now.values() if isinstance(what, _Inode) and what.pending]
            return max((len(what.pending[-1][1] or b"x") for what in files), default=0)

        return self._most(self.root, longest)

    def cut_power(self, choice: PowerCutChoice) -> Image:
        image: Image = {}
        self._cut(self.root, "", choice, image)
        return image

    def _cut(self, folder: _Folder, prefix: str, choice: PowerCutChoice, image: Image) -> None:
        names = dict(folder.durable)
        for op in choice.names(folder.pending):
            _apply(names, op)
        for name, what in sorted(names.items()):
            if isinstance(what, _Folder):
                image[prefix + name] = None
                self._cut(what, f"{prefix}{name}/", choice, image)
            else:
                image[prefix + name] = what.content(choice.data(what.pending))


def write_image(image: Image, root: Path) -> None:
    """Writes an image as real files; long runs of zeros become holes."""
    root.mkdir()
    for path, content in sorted(image.items()):
        if content is None:
            (root / path).mkdir()
        else:
            with (root / path).open("wb") as file:
                file.write(content.rstrip(b"\0"))
                file.truncate(len(content))
