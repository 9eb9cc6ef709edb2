"""HTTP streams of the Engine API: multiplexed frames, JSON lines, and hijacked connections that carry bytes both ways.

Invariant: a writer waits for its reader, so no buffer grows without bound. A half-closed client still receives the process's output.
"""

import asyncio
import select
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from aiohttp import HttpVersion11, web

from engine.request_context import RequestContext
from engine.routing import API_VERSION, format_version

STREAMING: web.RequestKey[bool] = web.RequestKey("streaming", bool)
"""Set on a request whose response has started, so that a later error aborts it instead of starting another response."""
RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
STDOUT, STDERR, SYSTEM_ERROR = 1, 2, 3
READ_BYTES = 1 << 16
BUFFER_BYTES = 1 << 18
FLUSH_SECONDS = 60.0
_FRAME = struct.Struct(">BxxxI")


def frame(stream: int, data: bytes) -> bytes:
    """Data with the header that names its stream: 1 stdout, 2 stderr, 3 an error of the daemon."""
    return _FRAME.pack(stream, len(data)) + data


def content_type(version: tuple[int, int], *, multiplexed: bool) -> str:
    """Content type of a log or attach stream. Clients before API 1.42 know only the raw type."""
    return MULTIPLEXED if multiplexed and version >= (1, 42) else RAW


@asynccontextmanager
async def chunked_response(
    context: RequestContext, kind: str, headers: Mapping[str, str] | None = None
) -> AsyncIterator[web.StreamResponse]:
    """A response whose head is sent at once and whose body follows in chunks."""
    response = web.StreamResponse(headers={"Content-Type": kind, **common_headers(), **(headers or {})})
    context.request[STREAMING] = True
    await response.prepare(context.request)
    yield response
    await response.write_eof()


async def write_json_line(response: web.StreamResponse, value: Any) -> None:
    """Write one JSON document and a line end, as in Docker's event and progress streams."""
    await response.write(msgspec.json.encode(value) + b"\r\n")


def common_headers() -> dict[str, str]:
    """Headers of every response."""
    return {
        "Api-Version": format_version(API_VERSION),
        "Docker-Experimental": "false",
        "Ostype": "linux",
        "Server": "Covey (linux)",
    }


def abort_stream(request: web.Request) -> web.StreamResponse:
    """Abort a response that has started. The client sees that it is incomplete."""
    if request.transport is not None:
        request.transport.close()
    response = _AlreadySent()
    response.force_close()
    return response


class HijackedConnection:
    """A connection taken out of HTTP, for raw bytes in both directions."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """The next bytes from the client; empty at the end of its input."""
        try:
            return await self._reader.read(READ_BYTES)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        """Write to the client. ConnectionError once it has disconnected."""
        self._writer.write(data)
        await self._writer.drain()

    def hung_up(self) -> bool:
        """Whether the client has closed both directions. A half-closed client still reads."""
        sock = self._writer.get_extra_info("socket")
        if self._writer.is_closing() or sock is None or sock.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(sock.fileno(), 0)  # the kernel reports errors and hang-ups unasked
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close the connection after the buffered bytes, without waiting for that."""
        self._writer.close()


class _HijackProtocol(asyncio.StreamReaderProtocol):
    """Keeps half-closed connections open, and tells aiohttp's own protocol when the connection is lost."""

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
    """Payload parser that collects the bytes that the client sent right behind its request."""

    def __init__(self) -> None:
        self.data = b""

    def feed_eof(self) -> None:
        return

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""


class _AlreadySent(web.StreamResponse):
    """A response that has already been sent. aiohttp must not send another."""

    async def prepare(self, request: web.BaseRequest) -> None:
        del request

    async def write_eof(self, data: bytes = b"") -> None:
        del data

    @property
    def prepared(self) -> bool:
        return True


def lent_socket(context: RequestContext) -> int:
    """The descriptor of the client's socket, which another process may write the body to; -1 if that has to be encrypted."""
    transport = context.request.transport
    old = context.request.version < HttpVersion11  # knows no chunks
    if transport is None or old or transport.get_extra_info("sslcontext") is not None:
        return -1
    connection = transport.get_extra_info("socket")
    return -1 if connection is None else int(connection.fileno())


async def send_by_other_process(
    context: RequestContext, kind: str, headers: Mapping[str, str], send: Callable[[], Awaitable[None]]
) -> web.StreamResponse:
    """Send the head of a chunked response, and let `send` make another process write all chunks to the lent socket."""
    request = context.request
    response = web.StreamResponse(headers={"Content-Type": kind, "Connection": "close", **common_headers(), **headers})
    response.enable_chunked_encoding()
    request[STREAMING] = True
    await response.prepare(request)
    await response.write(b"")
    await _flush(request)
    await send()
    sent = _AlreadySent()
    sent.force_close()
    return sent


async def _flush(request: web.Request) -> None:
    """Wait until the transport has given everything to the socket."""
    transport = request.transport
    async with asyncio.timeout(FLUSH_SECONDS):
        while transport is not None and transport.get_write_buffer_size() and not transport.is_closing():  # noqa: ASYNC110  a transport has no event for it
            await asyncio.sleep(0.001)


def hijack(context: RequestContext, kind: str) -> tuple[HijackedConnection, web.StreamResponse]:
    """Take over the connection and respond with 101, or with 200 to clients that did not ask for an upgrade.

    The handler returns the second value once the first is closed.
    """
    request = context.request
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client has disconnected")
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
