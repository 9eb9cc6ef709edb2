"""A TLS connection whose blocking calls run in a thread of its own.

asyncio's TLS handles each record in Python several times. A blocking socket leaves it to OpenSSL, without the interpreter
lock, at half the processor time.

Invariant: whoever is cancelled during a call shuts the socket down, which ends the call, and waits for its thread.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class BlockingConnection:
    """One connection, before its handshake. `stall_seconds` bounds each wait for the other side within a call."""

    def __init__(
        self, plain: socket.socket, context: ssl.SSLContext, *, server_hostname: str | None, stall_seconds: float
    ) -> None:
        plain.settimeout(stall_seconds)
        self.socket = context.wrap_socket(
            plain, server_side=server_hostname is None, server_hostname=server_hostname, do_handshake_on_connect=False
        )
        self._thread = ThreadPoolExecutor(1, "covey-image-peer")

    async def handshake(self, timeout_seconds: float) -> None:
        """Shake hands. Raises OSError (also for TLS) or TimeoutError."""
        async with asyncio.timeout(timeout_seconds):
            await self.run(self.socket.do_handshake)

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call that uses the socket. Only one runs at a time."""
        future = asyncio.get_running_loop().run_in_executor(self._thread, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._shut_down()
            await asyncio.wait({future})
            if not future.cancelled():
                future.exception()  # what the shutdown caused
            raise

    def close(self) -> None:
        """Close the socket and end the thread. No call may run."""
        self._thread.shutdown(wait=False)
        self.socket.close()

    def _shut_down(self) -> None:
        # Not SSLSocket.shutdown: it drops the TLS state, and a call in the thread would go on without encryption.
        try:
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)
        except OSError:  # not connected any more
            return
