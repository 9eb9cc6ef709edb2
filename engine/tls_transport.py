"""TLS below the Engine API's HTTP server, with half-closed connections: a client that ends its input still receives output.

Invariant: the application sees an ordinary transport. asyncio's own TLS transport closes the connection once the client has sent
``close_notify``, so the output of ``docker run -i`` and ``docker exec -i`` would be lost. The application writes into the raw
transport's buffer, whose limits pause it.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from typing import Any, cast

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 15.0
READ_BYTES = 1 << 18


class TlsTransport(asyncio.Transport):
    """The encrypted side of a connection, as the application sees it."""

    def __init__(self, connection: "TlsConnection", raw: asyncio.Transport, session: ssl.SSLObject) -> None:
        super().__init__()
        self._connection = connection
        self._raw = raw
        self._session = session

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self._session
        if name == "sslcontext":
            return self._session.context
        if name == "peercert":
            return self._session.getpeercert()
        return self._raw.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._connection.application = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._connection.application

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def is_reading(self) -> bool:
        return self._raw.is_reading()

    def pause_reading(self) -> None:
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._raw.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self._raw.is_closing():
            self._session.write(data)
            self._connection.flush()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Send ``close_notify``; the client may still write."""
        with contextlib.suppress(ssl.SSLError):
            self._session.unwrap()
        self._connection.flush()

    def close(self) -> None:
        if not self._raw.is_closing():
            self.write_eof()
            self._raw.close()

    def abort(self) -> None:
        self._raw.abort()


class TlsConnection(asyncio.Protocol):
    """The protocol of the raw transport: handshake, decryption, and the application's callbacks."""

    application: asyncio.Protocol

    def __init__(self, context: ssl.SSLContext, build_application: Callable[[], asyncio.BaseProtocol]) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._build_application = build_application
        self._raw: asyncio.Transport
        self._transport: TlsTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._has_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self._raw.abort)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            if self._transport is None and not self._shake_hands():
                return
            self._read()
        except ssl.SSLError as error:
            log.info("a TLS connection from %s failed: %s", self._raw.get_extra_info("peername"), error)
            self.flush()  # the alert that says why
            self._raw.close()

    def eof_received(self) -> bool:
        """The end of TCP is the end of the connection, unless the client has ended its input in TLS before and waits for output."""
        return self._has_ended

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        if self._transport is not None:
            self.application.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._transport is not None:
            self.application.pause_writing()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self.application.resume_writing()

    def flush(self) -> None:
        """Hand encrypted bytes to the raw transport."""
        if self._outgoing.pending and not self._raw.is_closing():
            self._raw.write(self._outgoing.read())

    def _shake_hands(self) -> bool:
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            self.flush()
            return False
        self.flush()
        self._cancel_timer()
        self.application = cast("asyncio.Protocol", self._build_application())
        self._transport = TlsTransport(self, self._raw, self._session)
        self.application.connection_made(self._transport)
        return True

    def _read(self) -> None:
        """Give everything that has arrived to the application, which may have been replaced meanwhile."""
        while not self._has_ended:
            try:
                data = self._session.read(READ_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                data = b""
            if data:
                self.application.data_received(data)
                continue
            self._has_ended = True
            if not self.application.eof_received() and self._transport is not None:
                self._transport.close()
        self.flush()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
