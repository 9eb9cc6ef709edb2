"""HTTP streams of the Engine API: multiplexed frames, JSON lines, and hijacked connections that carry bytes both ways.

Invariant: a writer waits for its reader, so no buffer grows without bound. A half-closed client still receives the process's output.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from aiohttp import web

from engine.request_context import RequestContext
from engine.routing import API_VERSION, format_version

STREAMING: web.RequestKey[bool] = web.RequestKey("streaming", bool)
"""Set on a request whose answer has begun, so that a later error ends it rather than answers again."""
RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
STDOUT, STDERR, SYSTEM_ERROR = 1, 2, 3
READ_BYTES = 1 << 16
BUFFER_BYTES = 1 << 18
_FRAME = struct.Struct(">BxxxI")


def frame(stream: int, data: bytes) -> bytes:
    """Data with the header that tells its stream: 1 stdout, 2 stderr, 3 an error of the daemon."""
    return _FRAME.pack(stream, len(data)) + data


def content_type(version: tuple[int, int], *, multiplexed: bool) -> str:
    """Clients since 1.42 are told which of the two forms comes."""
    return MULTIPLEXED if multiplexed and version >= (1, 42) else RAW


@asynccontextmanager
async def chunked_response(call: RequestContext, kind: str) -> AsyncIterator[web.StreamResponse]:
    """A response whose header is sent at once and whose body follows piece by piece."""
    response = web.StreamResponse(headers={"Content-Type": kind, **common_headers()})
    call.request[STREAMING] = True
    await response.prepare(call.request)
    yield response
    await response.write_eof()


async def write_json_line(response: web.StreamResponse, value: Any) -> None:
    """One JSON document and a line end, as Docker's streams of events and progress are."""
    await response.write(msgspec.json.encode(value) + b"\r\n")


def common_headers() -> dict[str, str]:
    """What every answer of the API says of the daemon."""
    return {
        "Api-Version": format_version(API_VERSION),
        "Docker-Experimental": "false",
        "Ostype": "linux",
        "Server": "Covey (linux)",
    }


def abort_stream(request: web.Request) -> web.StreamResponse:
    """Ends a response that has begun without its end: a client sees that something is missing."""
    if request.transport is not None:
        request.transport.close()
    response = _AlreadySent()
    response.force_close()
    return response


class HijackedConnection:
    """A connection taken out of HTTP: read what the client types, write what it shall see."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """The next bytes; empty at the client's end of input."""
        try:
            return await self._reader.read(READ_BYTES)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        """Raises ConnectionError once the client is gone."""
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        """Send what is left and end the connection; does not wait for it."""
        self._writer.close()


class _HijackProtocol(asyncio.StreamReaderProtocol):
    """Keeps half-closed connections open and tells aiohttp's own protocol when the connection ends."""

    def __init__(self, reader: asyncio.StreamReader, on_lost: Callable[[Exception | None], None]) -> None:
        super().__init__(reader)
        self._on_lost = on_lost

    def eof_received(self) -> bool:
        super().eof_received()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._on_lost(exc)


class _TrailingBytes:
    """Collects what the client sent right behind its request; aiohttp hands it to a payload parser."""

    def __init__(self) -> None:
        self.data = b""

    def feed_eof(self) -> None:
        return

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""


class _AlreadySent(web.StreamResponse):
    """Tells aiohttp that the answer is out already."""

    async def prepare(self, request: web.BaseRequest) -> None:
        del request

    async def write_eof(self, data: bytes = b"") -> None:
        del data

    @property
    def prepared(self) -> bool:
        return True


def hijack(call: RequestContext, kind: str) -> tuple[HijackedConnection, web.StreamResponse]:
    """Take the connection over and answer 101 (or 200 to clients that did not ask to upgrade).

    Return the second value from the handler once the first is closed.
    """
    request = call.request
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client is gone")
    request[STREAMING] = True
    old = request.protocol
    tail = _TrailingBytes()
    old.set_parser(cast("Any", tail))
    reader = asyncio.StreamReader(limit=BUFFER_BYTES)
    protocol = _HijackProtocol(reader, old.connection_lost)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if not transport.is_reading():
        transport.resume_reading()
    if tail.data:
        reader.feed_data(tail.data)
    writer = asyncio.StreamWriter(
        cast("asyncio.WriteTransport", transport), protocol, reader, asyncio.get_running_loop()
    )
    if "upgrade" in request.headers.get("Connection", "").lower():
        head = f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {kind}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
    else:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in common_headers().items())
    writer.write(f"{head}{lines}\r\n".encode())
    response = _AlreadySent()
    response.force_close()
    return HijackedConnection(reader, writer), response
