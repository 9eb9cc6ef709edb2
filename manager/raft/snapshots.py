"""Snapshot files: the whole state as of one log index, encrypted in chunks.

Invariant: a snapshot file gets its name only when its content is durable. A damaged snapshot ends the startup, because
the log before it may be gone. All calls block; those that write raise OSError. Called by `disk` in worker threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Self

import msgspec

from manager.keys.key_ring import HEAD_BYTES, DecryptionError, KeyRing, key_id_of
from manager.raft.core import Snapshot, SnapshotMeta
from manager.raft.file_ops import REAL_FILE_OPS, FileOps, remove_leftovers, replace_durably, write_temporary
from manager.storage_errors import CorruptError

_MAGIC = b"CoveySN2"
_PIECE_BYTES = 1 << 20
_LENGTH_BYTES = 4
_SEAL_BYTES = 16


class _Head(msgspec.Struct, frozen=True, array_like=True, gc=False):
    metadata: SnapshotMeta
    size: int


_encoder = msgspec.msgpack.Encoder()
_head_decoder = msgspec.msgpack.Decoder(_Head)


class SnapshotFolder:
    """The snapshot files of one member."""

    def __init__(self, folder: Path, ring: KeyRing, files: FileOps = REAL_FILE_OPS) -> None:
        self._folder = folder
        self._files = files
        self.ring = ring

    def open(self) -> Snapshot | None:
        """Prepares the directory and returns the latest snapshot. Raises CorruptError."""
        self._files.make_folder(self._folder)
        remove_leftovers(self._files, self._folder)
        paths = self._paths()
        return self._read(paths[-1]) if paths else None

    def old_count(self) -> int:
        """The number of snapshots besides the latest."""
        return max(0, len(self._paths()) - 1)

    def reader(self, index: int) -> SnapshotReader:
        """Reader of the snapshot at an index, or of the latest if that one is gone. Raises CorruptError, OSError."""
        paths = self._paths()
        chosen = next((path for path in paths if path.stem.startswith(f"{index:016x}-")), None) or paths[-1]
        return SnapshotReader(chosen, self.ring)

    def save(self, snapshot: Snapshot) -> None:
        """Returns when the snapshot is durable."""
        path = self._folder / f"{snapshot.metadata.index:016x}-{snapshot.metadata.term:016x}.snap"
        replace_durably(self._files, write_temporary(self._files, path, self._sealed(path, snapshot)), path)

    def reencrypt(self) -> None:
        """Rewrites snapshots that are not encrypted with the current key. Raises CorruptError, MissingKeyError."""
        for path in self._paths():
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
            if key_id_of(head) != self.ring.current:
                self.save(self._read(path))

    def prune(self, keep_old: int = 0) -> None:
        """Removes all but the latest snapshot and ``keep_old`` before it."""
        for path in self._paths()[: -1 - keep_old]:
            self._files.unlink(path)

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.snap"))

    def _sealed(self, path: Path, snapshot: Snapshot) -> Iterator[bytes]:
        """The file's encrypted content, chunk by chunk, because the state may be large."""
        file_head, cipher = self.ring.new_file_cipher(_MAGIC, _purpose(path))
        yield file_head
        head = _encoder.encode(_Head(snapshot.metadata, len(snapshot.data)))
        for number, piece in enumerate(chain(_pieces(head), _pieces(snapshot.data))):
            sealed = cipher.seal(number, piece)
            yield len(sealed).to_bytes(_LENGTH_BYTES, "big") + sealed

    def _read(self, path: Path) -> Snapshot:
        with SnapshotReader(path, self.ring) as reader:
            return Snapshot(reader.metadata, b"".join(iter(reader.read, b"")))


class SnapshotReader:
    """Reads one snapshot chunk by chunk, so that the sender never holds all of it. Remains readable if the file is removed.

    Raises:
        CorruptError, MissingKeyError, OSError.
    """

    def __init__(self, path: Path, ring: KeyRing) -> None:
        self._path = path
        self._file = path.open("rb")
        try:
            self._cipher = ring.existing_file_cipher(path, _MAGIC, _purpose(path), self._file.read(HEAD_BYTES))
            self._number = 0
            self._rest = 0
            head = _head_decoder.decode(self._piece())
        except msgspec.DecodeError as error:
            self._file.close()
            raise CorruptError(path, HEAD_BYTES, f"its header cannot be parsed ({error})") from None
        except BaseException:
            self._file.close()
            raise
        self.metadata = head.metadata
        self.size = self._rest = head.size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self) -> bytes:
        """The next chunk, empty after the last. Blocking."""
        piece = self._piece()
        self._rest -= len(piece)
        if self._rest < 0 or (self._rest and not piece):
            raise CorruptError(self._path, self._file.tell(), f"it holds {self.size - self._rest} of {self.size} bytes")
        return piece

    def _piece(self) -> bytes:
        offset = self._file.tell()
        prefix = self._file.read(_LENGTH_BYTES)
        if not prefix:
            return b""
        length = min(int.from_bytes(prefix, "big"), _PIECE_BYTES + _SEAL_BYTES)
        try:
            piece = self._cipher.open(self._number, self._file.read(length))
        except DecryptionError:
            reason = f"chunk {self._number} cannot be decrypted with data key {self._cipher.key_id} at this position"
            raise CorruptError(self._path, offset, reason) from None
        self._number += 1
        return piece


def _pieces(data: bytes) -> Iterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(data), _PIECE_BYTES):
        yield view[start : start + _PIECE_BYTES]


def _purpose(path: Path) -> bytes:
    return b"snapshot " + path.stem.encode()
