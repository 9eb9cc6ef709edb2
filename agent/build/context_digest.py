"""Digest of a build's context from its tar as it passes. Pure.

As in Docker, the times of files do not count, so a fresh checkout of the same files has the same digest. A compressed tar, and what
follows the last member, is digested as it is.
"""

import hashlib

_BLOCK = 512
_SIZE = slice(124, 136)
_TIME = slice(136, 148)
_CHECKSUM = slice(148, 156)
_MAGIC = slice(257, 262)
_BASE_256 = 0x80
_NO_TIME, _NO_CHECKSUM = bytes(12), bytes(8)


class ContextDigest:
    """Takes the pieces of a tar."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._left: int | None = 0
        """Bytes before the next header; None where no more headers follow."""
        self._header = b""

    def update(self, data: bytes) -> None:
        """Add the next piece."""
        at, end = 0, len(data)
        while at < end:
            if self._left == 0:
                part = data[at : at + _BLOCK - len(self._header)]
                self._header += part
                if len(self._header) == _BLOCK:
                    self._add_header(bytearray(self._header))
                    self._header = b""
            else:
                part = data[at:] if self._left is None else data[at : at + self._left]
                self._hash.update(part)
                self._left = None if self._left is None else self._left - len(part)
            at += len(part)

    def hexdigest(self) -> str:
        """The digest of the pieces so far."""
        whole = self._hash.copy()
        whole.update(self._header)
        return whole.hexdigest()

    def _add_header(self, header: bytearray) -> None:
        size = _member_size(header)
        if size is None:
            self._left = None
        else:
            self._left = -(-size // _BLOCK) * _BLOCK
            header[_TIME], header[_CHECKSUM] = _NO_TIME, _NO_CHECKSUM  # the checksum depends on the time
        self._hash.update(header)


def _member_size(header: bytearray) -> int | None:
    """The size of a member in bytes, None if this is no header of one."""
    if header[_MAGIC] != b"ustar":
        return None
    field = header[_SIZE]
    if field[0] & _BASE_256:
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return None
