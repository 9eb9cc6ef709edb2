"""Attach streams: stdin, stdout and stderr of a container or exec over conmon's attach socket.

Invariant: one packet is one `read`; nothing is buffered here, so a slow reader slows conmon down. Called by
`agent.container` for attach, exec and health checks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

_PACKET_BYTES = 32 << 10
_WRITE_BYTES = 8 << 10
_STREAM_OF_PIPE = {2: 1, 3: 2}
"""conmon's pipe numbers to stdout (1) and stderr (2)."""


async def connect_attach(bundle: Path) -> socket.socket:
    """Connect to the attach socket of a bundle, through a descriptor: the path may be too long for a socket address."""
    folder = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, f"/proc/self/fd/{folder}/attach")
        except BaseException:
            sock.close()
            raise
    finally:
        os.close(folder)
    return sock


class AttachStream:
    """Implements `agent.container.api.Stream`. It may exist before the container starts: reads wait for `set_socket`."""

    def __init__(self, wait_for_exit: Callable[[], Awaitable[int]]) -> None:
        self._wait_for_exit = wait_for_exit
        self._ready = asyncio.Event()
        self._socket: socket.socket | None = None
        self._closed = False

    def set_socket(self, sock: socket.socket | None) -> None:
        """Connect the stream; None if the process never started."""
        if self._closed and sock is not None:
            sock.close()
            sock = None
        self._socket = sock
        self._ready.set()

    async def read(self) -> tuple[int, bytes] | None:
        """(1, data) from stdout or (2, data) from stderr, or None at the end."""
        await self._ready.wait()
        loop = asyncio.get_running_loop()
        while self._socket is not None:
            try:
                packet = await loop.sock_recv(self._socket, _PACKET_BYTES)
            except OSError:
                return None
            if not packet:
                return None
            stream = _STREAM_OF_PIPE.get(packet[0])
            if stream is not None and len(packet) > 1:
                return stream, packet[1:]
        return None

    async def write(self, data: bytes) -> None:
        """Send to the process's stdin. Drops what the process no longer reads."""
        await self._ready.wait()
        loop = asyncio.get_running_loop()
        for start in range(0, len(data), _WRITE_BYTES):
            if self._socket is None:
                return
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await loop.sock_sendall(self._socket, data[start : start + _WRITE_BYTES])

    async def close_stdin(self) -> None:
        await self._ready.wait()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    async def wait(self) -> int:
        """The exit code of the process."""
        return await self._wait_for_exit()

    async def close(self) -> None:
        """Disconnect; the process keeps running."""
        self._closed = True
        sock, self._socket = self._socket, None
        self._ready.set()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
