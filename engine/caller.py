"""User of an API request: of a Unix socket the process's user, of TLS the name in the client's certificate, else the client's address.

Invariant: the name is for histories only; it grants nothing. It is set for the asyncio task of a request and read where the request calls
the managers.
"""

import pwd
import socket
import struct
from contextvars import ContextVar

from aiohttp import web

_USER: ContextVar[str] = ContextVar("user", default="")
_CREDENTIALS = struct.Struct("3i")
MAX_NAME = 128


def current_user() -> str:
    """The user of the present request; empty outside of one."""
    return _USER.get()


def set_user(request: web.Request) -> None:
    """Remember the user of a request for the rest of its task."""
    _USER.set(user_of(request)[:MAX_NAME])


def user_of(request: web.Request) -> str:
    """The name of a request's user; empty if it cannot be told."""
    transport = request.transport
    if transport is None:
        return ""
    certificate = transport.get_extra_info("peercert")
    if certificate:
        names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        return str(names[0]) if names else "a client with a certificate"
    connection = transport.get_extra_info("socket")
    if connection is None:
        return ""
    if connection.family != socket.AF_UNIX:
        peer = transport.get_extra_info("peername")
        return str(peer[0]) if peer else ""
    try:
        _, user_id, _ = _CREDENTIALS.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
    except OSError:
        return ""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"uid {user_id}"
