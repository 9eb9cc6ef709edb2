"""Sinks of shipped logs: connections to a syslog server and to the host's journal.

Invariant: `send` returns once the kernel or the server's connection has taken the entries, or raises OSError; then nothing
is known of them and all are sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from agent.logs import journal_message, syslog_message
from agent.logs.entry import LogEntry
from agent.logs.errors import LogDriverError
from agent.logs.journal_message import JournalFields
from agent.logs.syslog_message import SyslogFormat
from covey.syslog_options import SyslogAddress, SyslogOptions

CONNECT_SECONDS, SEND_SECONDS = 10.0, 30.0
LOCAL_SYSLOG = (Path("/dev/log"), Path("/var/run/syslog"), Path("/var/run/log"))
JOURNAL = Path("/run/systemd/journal/socket")
_DATAGRAM_BYTES = 60 << 10


class LogSink(Protocol):
    """Takes log entries. `open` can be repeated after an error."""

    async def open(self) -> None: ...
    async def send(self, entries: Sequence[LogEntry]) -> None: ...
    def close(self) -> None: ...


class DatagramSink:
    """One datagram an entry, to a Unix socket or over UDP. A message too large for a datagram is cut, or sent by file."""

    def __init__(
        self, family: socket.AddressFamily, address: str | tuple[str, int], encode: Callable[[LogEntry], bytes]
    ) -> None:
        self._family, self._address, self._encode = family, address, encode
        self._socket: socket.socket | None = None

    async def open(self) -> None:
        self.close()
        sock = socket.socket(self._family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(sock, self._address)
        except BaseException:
            sock.close()
            raise
        self._socket = sock

    async def send(self, entries: Sequence[LogEntry]) -> None:
        if self._socket is None:
            await self.open()
        sock, loop = self._socket, asyncio.get_running_loop()
        if sock is None:
            raise ConnectionResetError("the log's socket was closed")
        async with asyncio.timeout(SEND_SECONDS):
            for entry in entries:
                await loop.sock_sendall(sock, self._encode(entry)[:_DATAGRAM_BYTES])

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class JournalSink(DatagramSink):
    """The journal. A message too large for a datagram goes by a sealed file in memory."""

    def __init__(self, path: Path, fields: JournalFields) -> None:
        super().__init__(socket.AF_UNIX, str(path), lambda entry: journal_message.encode(entry, fields))

    async def send(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            data = self._encode(entry)
            if len(data) <= _DATAGRAM_BYTES:
                await super().send((entry,))
                continue
            if self._socket is None:
                await self.open()
            await asyncio.to_thread(self._send_file, data)

    def _send_file(self, data: bytes) -> None:
        fd = os.memfd_create("covey-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(fd, data)
            _seal(fd)
            if self._socket is not None:
                socket.send_fds(self._socket, [b""], [fd])
        finally:
            os.close(fd)


class StreamSink:
    """A stream of messages: TCP, TLS or a Unix stream socket."""

    def __init__(self, options: SyslogOptions, form: SyslogFormat) -> None:
        self._options, self._form = options, form
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        self.close()
        address = self._options.address
        async with asyncio.timeout(CONNECT_SECONDS):
            if address.scheme == "unix":
                self._reader, self._writer = await asyncio.open_unix_connection(address.path)
            else:
                context = await asyncio.to_thread(_tls_context, self._options) if address.scheme == "tcp+tls" else None
                self._reader, self._writer = await asyncio.open_connection(address.host, address.port, ssl=context)

    async def send(self, entries: Sequence[LogEntry]) -> None:
        if self._writer is None or self._writer.is_closing() or (self._reader and self._reader.at_eof()):
            await self.open()
        if self._writer is None:
            raise ConnectionResetError("the connection to the syslog server was closed")
        self._writer.write(b"".join(syslog_message.encode(entry, self._form) for entry in entries))
        async with asyncio.timeout(SEND_SECONDS):
            await self._writer.drain()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def syslog_sink(options: SyslogOptions, form: SyslogFormat) -> LogSink:
    """The sink of an address. Raises LogDriverError, in Docker's words, if the host has no syslog of its own."""
    address = options.address
    if not address.scheme:
        path = next((path for path in LOCAL_SYSLOG if path.exists()), None)
        if path is None:
            raise LogDriverError("Unix syslog delivery error")
        address = SyslogAddress("unixgram", path=str(path))
    if address.scheme in {"unix", "unixgram"} and not Path(address.path).exists():
        raise LogDriverError(f"stat {address.path}: no such file or directory")

    def encode(entry: LogEntry) -> bytes:
        return syslog_message.encode(entry, form)

    if address.scheme == "unixgram":
        return DatagramSink(socket.AF_UNIX, address.path, encode)
    if address.scheme == "udp":
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        return DatagramSink(family, (address.host, address.port), encode)
    return StreamSink(options, form)


def journal_sink(fields: JournalFields, path: Path = JOURNAL) -> LogSink:
    """The journal of this host. Raises LogDriverError if there is none."""
    if not path.exists():
        raise LogDriverError("journald is not enabled on this host")
    return JournalSink(path, fields)


async def require_reachable(sink: LogSink, name: str) -> None:
    """Connect once. Raises LogDriverError if that fails."""
    try:
        await sink.open()
    except (OSError, TimeoutError) as error:
        reason = os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
        raise LogDriverError(f"dial {name}: connect: {reason or 'i/o timeout'}") from None
    finally:
        sink.close()


def _tls_context(options: SyslogOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.ca_cert or None)
    if options.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.cert:
        context.load_cert_chain(options.cert, options.key or None)
    return context


def _seal(fd: int) -> None:
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
