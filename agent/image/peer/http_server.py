"""HTTP/1.1 of the image server, on a blocking connection: GET requests, JSON responses, and files with a range.

Every function blocks, within the connection's own bound for each wait.
"""

import http.client
import os
import re
from pathlib import Path
from typing import BinaryIO

import msgspec

from agent.image.peer.blocking_connection import BlockingConnection

CHUNK_BYTES = 1 << 20
_LINE_BYTES = 4096
_REQUEST = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.1\r?\n")
_RANGE = re.compile(r"bytes=(\d{1,18})-")
_REASONS = http.client.responses


class Request(msgspec.Struct, frozen=True):
    """A request. `start` is the first byte that is wanted."""

    method: str
    path: str
    start: int = 0
    keep_alive: bool = True


class BadRequestError(Exception):
    """What was received is no request that this server understands."""


def read_request(reader: BinaryIO) -> Request | None:
    """The next request, or None if the other side has closed. Raises BadRequestError or OSError."""
    line = reader.readline(_LINE_BYTES)
    if not line:
        return None
    found = _REQUEST.fullmatch(line)
    if found is None:
        raise BadRequestError("malformed request line")
    try:
        headers = http.client.parse_headers(reader)  # bounds their length and number
    except http.client.HTTPException as error:
        raise BadRequestError(str(error)) from error
    if headers.get("Transfer-Encoding") or headers.get("Content-Length", "0").strip() != "0":
        raise BadRequestError("a request for an image has no body")
    wanted = _RANGE.fullmatch(headers.get("Range", "bytes=0-"))
    if wanted is None:
        raise BadRequestError("only ranges to the end are served")
    keep_alive = headers.get("Connection", "").lower() != "close"
    return Request(found[1].decode(), found[2].decode(), int(wanted[1]), keep_alive)


def send_body(connection: BlockingConnection, status: int, body: bytes, media_type: str) -> None:
    """Send a response from memory."""
    head = _head(status, {"Content-Type": media_type, "Content-Length": str(len(body))})
    connection.socket.sendall(head + body)


def send_file(connection: BlockingConnection, path: Path, start: int) -> None:
    """Send a file, from the start of the requested range to its end."""
    with path.open("rb", 0) as file:
        size = os.fstat(file.fileno()).st_size
        if start > size:
            connection.socket.sendall(_head(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"}))
            return
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            file.seek(start)
        connection.socket.sendall(_head(206 if start else 200, headers))
        buffer, left = memoryview(bytearray(CHUNK_BYTES)), size - start
        while left:
            count = file.readinto(buffer[: min(CHUNK_BYTES, left)])
            if not count:
                raise OSError(f"{path} ended early")
            connection.socket.sendall(buffer[:count])
            left -= count


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS[status]}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii")
