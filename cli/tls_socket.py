"""TLS over a connected socket, with the methods of a socket that the client uses, and with half-closed connections.

Invariant: ``shutdown`` sends ``close_notify`` and what follows can still be read: ``run -i`` and ``exec -i`` end their input before the
output ends. ``ssl.SSLSocket`` cannot do that, because it reads what arrives next as the answer to its ``close_notify``.
"""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from cli.daemon_address import TlsFiles
from covey.errors import InvalidArgumentError

READ_BYTES = 1 << 16
RECORD_BYTES = 1 << 14


def make_context(files: TlsFiles) -> ssl.SSLContext:
    """The settings of a connection.

    Raises:
        InvalidArgumentError: a file is missing or malformed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.verify:
        with _naming("could not read the CA certificate", files.ca):
            context.load_verify_locations(files.ca)
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if files.is_explicit or (Path(files.cert).exists() and Path(files.key).exists()):
        with _naming("could not load the client's certificate and key", f"{files.cert}, {files.key}"):
            context.load_cert_chain(files.cert, files.key)
    return context


class TlsSocket:
    """The encrypted connection. As with OpenSSL, a ``send`` that would block has to be repeated with the same data."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._plain = b""
        self._unsent = b""
        self._accepted = 0
        self._has_broken = False
        self._shake_hands()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        return self._sock.fileno()

    def settimeout(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)

    def pending(self) -> int:
        """Bytes that can be read although the socket is not readable."""
        return len(self._plain) + self._session.pending() + self._incoming.pending

    def recv(self, size: int, flags: int = 0) -> bytes:
        """What has arrived, empty at the end. ``MSG_PEEK`` keeps it; ``MSG_DONTWAIT`` raises BlockingIOError where there is nothing yet."""
        if not self._plain:
            self._plain = self._decrypt(flags & socket.MSG_DONTWAIT)
        data = self._plain[:size]
        if not flags & socket.MSG_PEEK:
            self._plain = self._plain[size:]
        return data

    def send(self, data: bytes, flags: int = 0) -> int:
        """Send the beginning of the data and return its length."""
        if not self._accepted:
            self._accepted = self._session.write(data[:RECORD_BYTES])
            self._unsent += self._outgoing.read()
        self._flush(flags & socket.MSG_DONTWAIT)
        sent, self._accepted = self._accepted, 0
        return sent

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self.send(bytes(rest[:RECORD_BYTES])) :]

    def shutdown(self, how: int) -> None:
        """End the output. Reading goes on."""
        if how == socket.SHUT_RD:
            return
        self._end_output()
        self._flush(0)

    def close(self) -> None:
        self._end_output()
        with contextlib.suppress(OSError):
            self._flush(socket.MSG_DONTWAIT)
        self._sock.close()

    def _end_output(self) -> None:
        with contextlib.suppress(ssl.SSLError):
            while data := self._session.read(READ_BYTES):  # what has arrived must not be read as the answer
                self._plain += data
        with contextlib.suppress(ssl.SSLError):
            self._session.unwrap()

    def _shake_hands(self) -> None:
        while True:
            try:
                self._session.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush(0)
                self._fill(0)
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._flush(0)  # the alert that says why
                raise
        self._flush(0)

    def _decrypt(self, flags: int) -> bytes:
        while True:
            try:
                data = self._session.read(READ_BYTES)
                break
            except ssl.SSLWantReadError:
                with contextlib.suppress(BlockingIOError):  # reading never waits for a peer that does not read
                    self._flush(socket.MSG_DONTWAIT)
                self._fill(flags)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                data = b""
                break
        if not data and self._has_broken:  # TCP ended without the peer's close_notify
            raise ConnectionResetError("the TLS connection ended without notice")
        return data

    def _fill(self, flags: int) -> None:
        data = self._sock.recv(READ_BYTES, flags)
        if data:
            self._incoming.write(data)
        else:
            self._has_broken = True
            self._incoming.write_eof()

    def _flush(self, flags: int) -> None:
        """Send what is encrypted. With ``MSG_DONTWAIT`` raises BlockingIOError while a part is left."""
        self._unsent += self._outgoing.read()
        while self._unsent:
            self._unsent = self._unsent[self._sock.send(self._unsent, flags) :]


@contextlib.contextmanager
def _naming(what: str, where: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(f"{what} {where}: {getattr(error, 'strerror', None) or error}") from None
