"""Snapshot files: the whole state as of one log index, sealed in pieces.

Law: a snapshot's name appears only when its content is durable. One that does not check out ends the start: the log before it may
be gone. Blocking; all that write raise OSError. Called by ``disk`` from worker threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import msgspec

from manager.raft.core import Snapshot, SnapshotMeta
from manager.raft.errors import CorruptError
from manager.raft.files import KERNEL, Files, put_in_place, sweep, write_beside
from manager.raft.sealing import HEAD_BYTES, KeyRing, SealError, key_id_of

_MAGIC = b"CoveySN2"
_PIECE_BYTES = 1 << 20
_LENGTH_BYTES = 4


class _Head(msgspec.Struct, frozen=True, array_like=True, gc=False):
    metadata: SnapshotMeta
    size: int


_encoder = msgspec.msgpack.Encoder()
_head_decoder = msgspec.msgpack.Decoder(_Head)


class SnapshotFolder:
    """The snapshots of one member, oldest first."""

    def __init__(self, folder: Path, ring: KeyRing, files: Files = KERNEL) -> None:
        self._folder = folder
        self._files = files
        self.ring = ring

    def open(self) -> Snapshot | None:
        """The latest snapshot. Raises CorruptError."""
        self._files.make_folder(self._folder)
        sweep(self._files, self._folder)
        paths = self._paths()
        return self._read(paths[-1]) if paths else None

    def load(self, index: int) -> Snapshot:
        """The snapshot at an index, or the latest if that one is gone. Raises CorruptError, OSError."""
        paths = self._paths()
        chosen = next((path for path in paths if path.stem.startswith(f"{index:016x}-")), None) or paths[-1]
        return self._read(chosen)

    def save(self, snapshot: Snapshot) -> None:
        """Returns when the snapshot is durable."""
        path = self._folder / f"{snapshot.metadata.index:016x}-{snapshot.metadata.term:016x}.snap"
        put_in_place(self._files, write_beside(self._files, path, self._sealed(path, snapshot)), path)

    def reseal(self) -> None:
        """Writes anew what the current key does not seal. Raises CorruptError, MissingKeyError."""
        for path in self._paths():
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
            if key_id_of(head) != self.ring.current:
                self.save(self._read(path))

    def prune(self, keep_old: int = 0) -> None:
        """Removes all but the latest and ``keep_old`` before it."""
        for path in self._paths()[: -1 - keep_old]:
            self._files.unlink(path)

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.snap"))

    def _sealed(self, path: Path, snapshot: Snapshot) -> Iterator[bytes]:
        """The content of the file, piece by piece: the state may be large."""
        file_head, cipher = self.ring.begin(_MAGIC, _purpose(path))
        yield file_head
        head = _encoder.encode(_Head(snapshot.metadata, len(snapshot.data)))
        for number, piece in enumerate(chain(_pieces(head), _pieces(snapshot.data))):
            sealed = cipher.seal(number, piece)
            yield len(sealed).to_bytes(_LENGTH_BYTES, "big") + sealed

    def _read(self, path: Path) -> Snapshot:
        data = path.read_bytes()
        cipher = self.ring.resume(path, _MAGIC, _purpose(path), data)
        pieces: list[bytes] = []
        offset = HEAD_BYTES
        while offset < len(data):
            length = int.from_bytes(data[offset : offset + _LENGTH_BYTES], "big")
            offset += _LENGTH_BYTES
            try:
                pieces.append(cipher.open(len(pieces), data[offset : offset + length]))
            except SealError:
                reason = f"piece {len(pieces)} does not open with data key {cipher.key_id} at this place"
                raise CorruptError(path, offset, reason) from None
            offset += length
        try:
            head = _head_decoder.decode(pieces[0] if pieces else b"")
        except msgspec.DecodeError as error:
            raise CorruptError(path, HEAD_BYTES, f"its head is not understood ({error})") from None
        content = b"".join(pieces[1:])
        if len(content) != head.size:
            raise CorruptError(path, len(data), f"it holds {len(content)} of {head.size} bytes")
        return Snapshot(head.metadata, content)


def _pieces(data: bytes) -> Iterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(data), _PIECE_BYTES):
        yield view[start : start + _PIECE_BYTES]


def _purpose(path: Path) -> bytes:
    return b"snapshot " + path.stem.encode()
