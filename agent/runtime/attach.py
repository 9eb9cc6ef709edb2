"""Both directions of a container's or an exec's input and output, over conmon's attach socket.

Law: one packet in, one `read` out; a slow reader slows conmon's socket and nothing is stored here. Callers: the
Engine API's hijacked
connections and health checks.
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
_CHANNELS = {2: 1, 3: 2}


async def connect_attach(bundle: Path) -> socket.socket:
    """The attach socket of a bundle, by way of a descriptor: its path may be longer than a socket address."""
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
    """An `agent.container.api.Stream`. It may be made before the container starts: reads then wait for `opened`."""

    def __init__(self, waiter: Callable[[], Awaitable[int]]) -> None:
        self._waiter = waiter
        self._ready = asyncio.Event()
        self._socket: socket.socket | None = None
        self._closed = False

    def set_socket(self, sock: socket.socket | None) -> None:
        """Give it its socket; None when the process never came to be."""
        if self._closed and sock is not None:
            sock.close()
            sock = None
        self._socket = sock
        self._ready.set()

    async def read(self) -> tuple[int, bytes] | None:
        """(1 or 2, data), or None at the end."""
        await self._ready.wait()
        loop = asyncio.get_running_loop()
        while self._socket is not None:
            try:
                packet = await loop.sock_recv(self._socket, _PACKET_BYTES)
            except OSError:
                return None
            if not packet:
                return None
            channel = _CHANNELS.get(packet[0])
            if channel is not None and len(packet) > 1:
                return channel, packet[1:]
        return None

    async def write(self, data: bytes) -> None:
        """To the process's input; what it no longer takes is dropped."""
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
        """The exit code of the process behind the stream."""
        return await self._waiter()

    async def close(self) -> None:
        self._closed = True
        sock, self._socket = self._socket, None
        self._ready.set()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
