"""Netlink messages and a netlink socket: attributes, dumps, and batches in which every message is acknowledged.

Layouts: linux/netlink.h (nlmsghdr, nlmsgerr), linux/rtnetlink.h (rtattr). A socket belongs to the namespace of the thread that opens
it, and may then be used on any thread.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Self

from covey.errors import UnavailableError

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
REPLACE, EXCLUSIVE, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800
NESTED, _TYPE_MASK = 0x8000, 0x3FFF
_ERROR, _DONE, _OVERRUN = 2, 3, 4
_DUMP_INTERRUPTED = 0x10
_EXTENDED_ACK, _GET_STRICT_CHECK = 11, 12
_SOL_NETLINK, _SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 270, 32, 33
_BATCH_BYTES = 24_000  # of requests per send, so that the acknowledgements fit the receive buffer
_TIMEOUT_SECONDS = 10.0
_DUMP_ATTEMPTS = 5

Attributes = Mapping[int, bytes]


def attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *values: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(values))


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=B", value))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def message(kind: int, flags: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, flags, 0, 0) + body


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes that begin at an offset, by type. Of a repeated type the last one counts."""
    found: dict[int, bytes] = {}
    end = len(data)
    while offset + 4 <= end:
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            break
        found[kind & _TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def to_int(value: bytes) -> int:
    """An unsigned number of any width in host order."""
    return int.from_bytes(value, "little" if _LITTLE else "big")


def to_text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, sequence number and body of each message in a datagram."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
        if length < HEADER.size:
            return
        yield kind, flags, sequence, data[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3


class NetlinkSocket:
    """A netlink socket of the calling thread's namespace."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 20)
            for option in (_EXTENDED_ACK, _GET_STRICT_CHECK):
                with suppress(OSError):  # older kernels answer without them
                    self._socket.setsockopt(_SOL_NETLINK, option, 1)
            self._socket.settimeout(_TIMEOUT_SECONDS)
            self._socket.bind((0, 0))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """The bodies of all answers to a dump request. It is repeated if the kernel changed meanwhile."""
        for _ in range(_DUMP_ATTEMPTS):
            answers, complete = self._dump_once(kind, body)
            if complete:
                return answers
        return answers

    def send(self, requests: Sequence[bytes]) -> dict[int, tuple[int, str]]:
        """Send requests in order, and read the acknowledgement of each. Returns the error of each refused one, by its index.

        An error is its number and the kernel's own words, if it has any.
        """
        failures: dict[int, tuple[int, str]] = {}
        start = 0
        while start < len(requests):
            end, size = start, 0
            while end < len(requests) and (end == start or size + len(requests[end]) <= _BATCH_BYTES):
                size += len(requests[end])
                end += 1
            self._socket.send(b"".join(_numbered(requests[index], index) for index in range(start, end)))
            pending = end - start
            while pending:
                for kind, flags, sequence, body in messages(self._receive()):
                    if kind == _ERROR and start <= sequence < end:
                        pending -= 1
                        number = -struct.unpack_from("=i", body)[0]
                        if number:
                            failures[sequence] = (number, _reason(body, flags))
            start = end
        return failures

    def transact(self, batch: bytes) -> tuple[int, str]:
        """Send the messages of one transaction, of which one asks for an acknowledgement. Returns the number of the first error and the
        kernel's own words, or 0.
        """
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, max(1 << 20, 2 * len(batch)))
        self._socket.send(batch)
        while True:
            for kind, flags, _, body in messages(self._receive()):
                if kind == _ERROR:
                    return -struct.unpack_from("=i", body)[0], _reason(body, flags)

    def _dump_once(self, kind: int, body: bytes) -> tuple[list[bytes], bool]:
        self._socket.send(message(kind, REQUEST | DUMP, body))
        answers: list[bytes] = []
        complete = True
        while True:
            for found, flags, _, answer in messages(self._receive()):
                complete = complete and not flags & _DUMP_INTERRUPTED
                if found == _DONE:
                    return answers, complete
                if found == _ERROR:
                    number = -struct.unpack_from("=i", answer)[0]
                    if number:
                        raise UnavailableError(f"the kernel refused to list its network state: {os.strerror(number)}")
                    return answers, complete
                answers.append(answer)

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(1 << 18)
        except TimeoutError:
            raise UnavailableError(
                f"the kernel did not answer a network request within {_TIMEOUT_SECONDS:.0f} s"
            ) from None


_LITTLE = struct.pack("=H", 1)[0] == 1
_CAPPED, _TLVS = 0x100, 0x200


def _numbered(request: bytes, sequence: int) -> bytes:
    return request[:8] + struct.pack("=I", sequence) + request[12:]


def _reason(body: bytes, flags: int) -> str:
    """The kernel's own words in an extended acknowledgement."""
    if not flags & _TLVS or len(body) < 20:
        return ""
    (length,) = struct.unpack_from("=I", body, 4)
    offset = 20 if flags & _CAPPED else 4 + ((length + 3) & ~3)
    return to_text(attributes(body, offset).get(1, b""))
