"""Socket of a kernel's netlink notifications in the calling thread's namespace. Layout: linux/netlink.h."""

from __future__ import annotations

import socket
from collections.abc import Iterator

_BUFFER_BYTES = 1 << 17
_MAX_READS = 64


class NotificationSocket:
    """Base of monitors. A monitor joins its groups through ``_socket``; if that fails, it calls ``close``."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol
        )

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def _arrived(self) -> Iterator[bytes | None]:
        """What has arrived, within bounds; last None if notifications were lost, so that anything may have changed."""
        for _ in range(_MAX_READS):
            try:
                yield self._socket.recv(_BUFFER_BYTES)
            except BlockingIOError:
                return
            except OSError:
                yield None
                return
