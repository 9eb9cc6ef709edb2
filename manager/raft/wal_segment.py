"""Write-ahead log segment: one file of encrypted frames, each frame one write and one flush.

Invariant: a frame is written only after the previous one is durable. So an invalid frame is a torn tail if no valid
frame follows it, and corruption otherwise. A process never appends to a file of an earlier process: a restart starts a
new file, and first copies the last one, because its end may not be on disk. The current file is filled with zeros
ahead of its end, so that a flush rarely has to make a new file size durable; a closed file has none.

    file:  head (see key_ring), then frames;  frame: magic (4) number (4) length (4) crc32 of number, length, payload (4) payload
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from manager.keys.key_ring import HEAD_BYTES, DecryptionError, FileCipher, KeyRing
from manager.raft.core import Entry, HardState
from manager.raft.file_ops import REAL_FILE_OPS, FileOps, replace_durably, write_temporary
from manager.storage_errors import CorruptError

FILE_MAGIC = b"CoveyWL2"
_FRAME_MAGIC = b"\xc0VF\x1e"
_HEAD = struct.Struct(">4sIII")
_NUMBERS = struct.Struct(">II")
MAX_FRAME_BYTES = 1 << 30
_ZEROS_AHEAD = bytes(256 << 10)
_SMALL_FRAME_BYTES = 16 << 10
"""Zeros are written ahead of small frames only. A large frame is worth a metadata commit for the new file size."""


class Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One record. ``reset`` is (index, term) of a snapshot that replaced the whole log before ``entries``."""

    hard_state: HardState | None = None
    entries: list[Entry] = []
    reset: tuple[int, int] | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


def segment_path(folder: Path, sequence: int) -> Path:
    return folder / f"{sequence:016x}.wal"


def list_segments(folder: Path) -> list[tuple[int, Path]]:
    return sorted((int(path.stem, 16), path) for path in folder.glob("*.wal"))


def _purpose(sequence: int) -> bytes:
    return b"wal %d" % sequence


class SegmentWriter:
    """Appends frames to a new file. Not thread-safe; blocking."""

    __slots__ = ("_cipher", "_fd", "_files", "_number", "_zeroed", "last_index", "path", "size")

    def __init__(
        self, folder: Path, sequence: int, ring: KeyRing, hard_state: HardState, files: FileOps = REAL_FILE_OPS
    ) -> None:
        """Starts the file with the hard state, so that earlier segments can be removed. Replaces a segment of the same sequence."""
        self.path = segment_path(folder, sequence)
        self.last_index = 0
        head, self._cipher = ring.new_file_cipher(FILE_MAGIC, _purpose(sequence))
        beginning = head + _seal(self._cipher, 0, Frame(hard_state=hard_state))
        replace_durably(files, write_temporary(files, self.path, [beginning]), self.path)
        self._files = files
        self._fd = files.reopen(self.path)
        self._number = 1
        self.size = self._zeroed = len(beginning)

    @property
    def key_id(self) -> int:
        return self._cipher.key_id

    def append(self, frame: Frame) -> None:
        """Writes and flushes one frame. An OSError leaves the file in an unknown state."""
        data = _seal(self._cipher, self._number, frame)
        end = self.size + len(data)
        if end > self._zeroed and len(data) <= _SMALL_FRAME_BYTES:
            self._files.write(self._fd, _ZEROS_AHEAD, end)
            self._zeroed = end + len(_ZEROS_AHEAD)
        self._files.write(self._fd, data, self.size)
        self._files.flush(self._fd)
        self._number += 1
        self.size = end
        if frame.entries:
            self.last_index = max(self.last_index, frame.entries[-1].index)

    def finish(self) -> None:
        """Cuts the zeros durably, before the next file exists."""
        self._files.truncate(self._fd, self.size)
        self._files.flush(self._fd)

    def close(self) -> None:
        self._files.close(self._fd)


def reencrypt_segment(path: Path, sequence: int, ring: KeyRing, files: FileOps = REAL_FILE_OPS) -> Path | None:
    """Writes a copy of a closed segment under the ring's current key to a temporary file; None if it has that key already.

    Raises:
        CorruptError, MissingKeyError: the segment cannot be read; OSError: it cannot be read or written.
    """
    data = path.read_bytes()
    purpose = _purpose(sequence)
    if ring.existing_file_cipher(path, FILE_MAGIC, purpose, data).key_id == ring.current:
        return None
    frames, _ = read_segment(path, sequence, ring, last=False)
    head, cipher = ring.new_file_cipher(FILE_MAGIC, purpose)

    def chunks() -> Iterator[bytes]:
        yield head
        for number, frame in enumerate(frames):
            yield _seal(cipher, number, frame)

    return write_temporary(files, path, chunks())


def _seal(cipher: FileCipher, number: int, frame: Frame) -> bytes:
    payload = cipher.seal(number, _encoder.encode(frame))
    crc = zlib.crc32(payload, zlib.crc32(_NUMBERS.pack(number, len(payload))))
    return _HEAD.pack(_FRAME_MAGIC, number, len(payload), crc) + payload


def read_segment(
    path: Path, sequence: int, ring: KeyRing, *, last: bool, files: FileOps = REAL_FILE_OPS
) -> tuple[list[Frame], bytes]:
    """The frames of a file and their bytes. In the last file a torn tail or zeros are cut durably.

    Raises:
        CorruptError: durable data is damaged; MissingKeyError.
    """
    data = path.read_bytes()
    cipher = ring.existing_file_cipher(path, FILE_MAGIC, _purpose(sequence), data)
    frames: list[Frame] = []
    offset = HEAD_BYTES
    while offset < len(data):
        payload = _payload(data, offset, len(frames))
        if payload is None:
            _require_torn(path, data, offset, len(frames), last=last)
            _cut(path, offset, files)
            break
        frames.append(_open(path, offset, cipher, len(frames), payload))
        offset += _HEAD.size + len(payload)
    return frames, data[:offset]


def _payload(data: bytes, offset: int, number: int) -> bytes | None:
    """The payload of the frame at an offset; None unless the complete, undamaged frame of that number or a later one is there."""
    if offset + _HEAD.size > len(data):
        return None
    magic, found, length, crc = _HEAD.unpack_from(data, offset)
    end = offset + _HEAD.size + length
    if magic != _FRAME_MAGIC or found < number or length > MAX_FRAME_BYTES or end > len(data):
        return None
    payload = data[offset + _HEAD.size : end]
    return payload if zlib.crc32(payload, zlib.crc32(_NUMBERS.pack(found, length))) == crc else None


def _require_torn(path: Path, data: bytes, offset: int, number: int, *, last: bool) -> None:
    """Raises CorruptError unless the invalid frame can be the torn tail of the last file."""
    if not last:
        raise CorruptError(path, offset, f"record {number} is invalid, and later files exist")
    if not number:
        raise CorruptError(path, offset, "record 0 is invalid, although it was written before the file got its name")
    follower = data.find(_FRAME_MAGIC, offset + 1)
    while follower >= 0:
        if _payload(data, follower, number + 1) is not None:
            raise CorruptError(path, offset, f"record {number} is invalid, but a later record is valid")
        follower = data.find(_FRAME_MAGIC, follower + 1)


def _open(path: Path, offset: int, cipher: FileCipher, number: int, payload: bytes) -> Frame:
    try:
        return _decoder.decode(cipher.open(number, payload))
    except DecryptionError:
        reason = f"record {number} cannot be decrypted with data key {cipher.key_id} at this position"
        raise CorruptError(path, offset, reason) from None
    except msgspec.DecodeError as error:
        raise CorruptError(path, offset, f"record {number} cannot be parsed ({error})") from None


def _cut(path: Path, size: int, files: FileOps) -> None:
    fd = files.reopen(path)
    try:
        files.truncate(fd, size)
        files.flush(fd)
    finally:
        files.close(fd)
