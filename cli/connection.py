"""A connection to the daemon: a Unix socket, TCP, or TCP with TLS."""

import socket
from typing import TYPE_CHECKING, TypeAlias

from cli.daemon_address import DaemonAddress

if TYPE_CHECKING:
    from cli.tls_socket import TlsSocket

CONNECT_SECONDS = 30.0
KEEP_ALIVE_SECONDS = 30

Connection: TypeAlias = "socket.socket | TlsSocket"


def connect(address: DaemonAddress, seconds: float | None) -> Connection:
    """A connection whose operations time out after ``seconds``. Raises OSError, which ``ssl.SSLError`` is too."""
    if address.path:
        return _connect_unix(address.path, seconds)
    sock = socket.create_connection((address.host, address.port), CONNECT_SECONDS if seconds is None else seconds)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a stream from a host that vanished ends
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_ALIVE_SECONDS)
        connection: Connection = sock
        if address.tls is not None:
            from cli.tls_socket import TlsSocket, make_context

            connection = TlsSocket(sock, make_context(address.tls), address.host)
        connection.settimeout(seconds)
    except BaseException:
        sock.close()
        raise
    return connection


def has_pending(connection: Connection) -> bool:
    """Whether something can be read although the kernel has nothing."""
    return not isinstance(connection, socket.socket) and connection.pending() > 0


def _connect_unix(path: str, seconds: float | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock
