"""HTTP/1.1 over a connected socket, as much as the Engine API needs. ``http.client`` costs a fifth of a simple command's time to import.

Invariant: no byte after the head of a response is read before the caller asks for it, so a hijacked connection starts where the head ends.
One connection carries one request. Lengths are bounded: a head by ``MAX_HEAD_BYTES``, a chunk header by ``MAX_LINE_BYTES``.
"""

import socket
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.connection import Connection

MAX_HEAD_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 12
READ_BYTES = 1 << 16
END_OF_HEAD = b"\r\n\r\n"
NO_CONTENT = (204, 304)
CONTINUE = 100


class MalformedResponseError(Exception):
    """What the server sent is not HTTP, or it ended too early."""


def send_request(
    sock: "Connection", method: str, target: str, headers: Mapping[str, str], body: bytes | Iterable[bytes] | None
) -> None:
    """Send a request. A body that is no bytes is sent in chunks as it is produced."""
    sent = {"Host": "covey", "User-Agent": "covey", **headers}
    if isinstance(body, bytes):
        sent["Content-Length"] = str(len(body))
    elif body is not None:
        sent["Transfer-Encoding"] = "chunked"
    elif method in ("POST", "PUT"):
        sent["Content-Length"] = "0"
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    head = "\r\n".join(lines).encode("latin-1") + END_OF_HEAD
    if isinstance(body, bytes) or body is None:
        sock.sendall(head + (body or b""))
        return
    sock.sendall(head)
    for part in body:
        if part:
            sock.sendall(b"%x\r\n%b\r\n" % (len(part), part))
    sock.sendall(b"0\r\n\r\n")


class Response:
    """A response whose head has been read. ``headers`` has lower-case names."""

    def __init__(self, sock: "Connection", method: str) -> None:
        self._sock = sock
        self.status, self.reason, self.headers = _read_head(sock)
        while self.status == CONTINUE:
            self.status, self.reason, self.headers = _read_head(sock)
        self._buffer = b""
        self._chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self._left: int | None = None
        if method == "HEAD" or self.status in NO_CONTENT or self.status < 200:
            self._left, self._chunked = 0, False
        elif self._chunked:
            self._left = 0
        elif "content-length" in self.headers:
            self._left = _number(self.headers["content-length"], 10)
        self._ended = self._left == 0 and not self._chunked

    def read(self, limit: int | None = None) -> bytes:
        """The rest of the body, at most ``limit`` bytes."""
        parts: list[bytes] = []
        size = 0
        while (limit is None or size < limit) and (part := self.read1()):
            parts.append(part)
            size += len(part)
        return b"".join(parts)[:limit]

    def read1(self) -> bytes:
        """What has arrived of the body, at least one byte; empty at its end."""
        if self._ended:
            return b""
        if self._chunked and self._left == 0 and not self._next_chunk():
            return b""
        data, self._buffer = self._buffer, b""
        data = data or self._sock.recv(READ_BYTES)
        if self._left is None:
            self._ended = not data
            return data
        if not data:
            raise MalformedResponseError("the body ended too early")
        data, self._buffer = data[: self._left], data[self._left :]
        self._left -= len(data)
        if self._left == 0:
            if self._chunked:
                self._line()
            else:
                self._ended = True
        return data

    def _next_chunk(self) -> bool:
        self._left = _number(self._line().partition(b";")[0].decode("latin-1"), 16)
        if self._left:
            return True
        while self._line():
            continue
        self._ended = True
        return False

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if len(self._buffer) > MAX_LINE_BYTES:
                raise MalformedResponseError("the head of a chunk is too long")
            data = self._sock.recv(READ_BYTES)
            if not data:
                raise MalformedResponseError("a chunk ended too early")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line


def _read_head(sock: "Connection") -> tuple[int, str, dict[str, str]]:
    head = b""
    while END_OF_HEAD not in head:
        head += _peeked(sock, head)
        if len(head) > MAX_HEAD_BYTES:
            raise MalformedResponseError("the head of the response is too long")
    first, *lines = head[: -len(END_OF_HEAD)].decode("latin-1").split("\r\n")
    protocol, _, rest = first.partition(" ")
    status, _, reason = rest.partition(" ")
    if not protocol.startswith("HTTP/1.") or not status.isdigit():
        raise MalformedResponseError("the server does not speak HTTP")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(status), reason, headers


def _peeked(sock: "Connection", head: bytes) -> bytes:
    """More of the head, without a byte of what follows it."""
    seen = sock.recv(READ_BYTES, socket.MSG_PEEK)
    if not seen:
        raise MalformedResponseError("the server closed the connection")
    both = head + seen
    end = both.find(END_OF_HEAD)
    size = len(seen) if end < 0 else end + len(END_OF_HEAD) - len(head)
    return sock.recv(size)


def _number(text: str, base: int) -> int:
    try:
        value = int(text.strip(), base)
    except ValueError:
        value = -1
    if value < 0:
        raise MalformedResponseError(f"{text[:20]!r} is not a length")
    return value
