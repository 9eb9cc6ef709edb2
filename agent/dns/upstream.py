"""Way of one container's questions to nameservers: which are asked, and from which namespace.

Invariant: a container asks nobody whom it could not reach itself, but for the host's own nameservers. Those are asked from the host's
namespace if only the host reaches them, and only for a container that has a way out: one on internal networks alone asks no one outside.

Opening a socket changes no thread's namespace but that of a short-lived one, so several are opened at a time.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address

RESOLVER_ADDRESS = "127.0.0.11"  # the nameserver in a container's /etc/resolv.conf
_SPARE_SOCKETS = 8
_OUTSIDE = (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6))
"""Addresses for documentation: only a default route leads to them. Nothing is sent there."""
_ANY_PORT = 53

OpenSockets = Callable[[int, int, int], list[socket.socket]]
"""Opens that many sockets of a family and a type."""


def open_sockets_here(family: int, kind: int, count: int) -> list[socket.socket]:
    """Sockets in the calling thread's namespace."""
    opened: list[socket.socket] = []
    try:
        while len(opened) < count:
            opened.append(socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK))
    except OSError:
        if not opened:
            raise
    return opened


class Upstream:
    """`inside` opens sockets in the container's namespace, `outside` in the host's. `own` servers (`--dns`) replace the host's."""

    def __init__(
        self,
        inside: OpenSockets,
        outside: OpenSockets,
        host_nameservers: Callable[[], Sequence[str]],
        own: Sequence[str] = (),
    ) -> None:
        self._inside = inside
        self._outside = outside
        self._host_nameservers = host_nameservers
        self._own = tuple(server for server in own if server != RESOLVER_ADDRESS)  # it would ask itself
        self._has_own = bool(own)
        self._spare: dict[int, list[socket.socket]] = {}

    def servers(self) -> tuple[str, ...]:
        return self._own if self._has_own else tuple(self._host_nameservers())

    def open(self, server: str, kind: int) -> socket.socket:
        """A socket in the namespace from which the server is asked. Raises OSError if the container may not ask it."""
        if self._has_own:
            return self._open_inside(family_of(server), kind)
        if not any(self._reaches(address, family) for address, family in _OUTSIDE):
            raise OSError(errno.ENETUNREACH, f"{os.strerror(errno.ENETUNREACH)}: the container has no way out")
        if not _is_of_the_host(server) and self._reaches(server, family_of(server)):
            return self._open_inside(family_of(server), kind)
        return self._outside(family_of(server), kind, 1)[0]

    def close(self) -> None:
        for links in self._spare.values():
            while links:
                links.pop().close()

    def _reaches(self, address: str, family: int) -> bool:
        """Whether the container has a route to the address."""
        with self._open_inside(family, socket.SOCK_DGRAM) as link:
            try:
                link.connect((address, _ANY_PORT))
            except OSError:
                return False
            return True

    def _open_inside(self, family: int, kind: int) -> socket.socket:
        if kind != socket.SOCK_DGRAM:
            return self._inside(family, kind, 1)[0]
        spare = self._spare.setdefault(family, [])
        if not spare:
            spare += self._inside(family, kind, _SPARE_SOCKETS)
        return spare.pop()


def family_of(server: str) -> int:
    return socket.AF_INET6 if ":" in server else socket.AF_INET


def _is_of_the_host(server: str) -> bool:
    """Whether the address means something on the host alone: its loopback, or a link by its name."""
    return "%" in server or ip_address(server).is_loopback
