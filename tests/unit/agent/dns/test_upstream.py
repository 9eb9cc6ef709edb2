"""Which nameservers a container's questions go to, and from which namespace."""

from __future__ import annotations

import errno
import socket

import pytest

from agent.dns.upstream import Upstream


class Place:
    """Sockets of a namespace that has routes to addresses of these families."""

    def __init__(self, *families: int) -> None:
        self.families = families
        self.opened: list[socket.socket] = []

    def open(self, family: int, kind: int, count: int) -> list[socket.socket]:
        return [self._socket(family, kind) for _ in range(count)]

    def _socket(self, family: int, kind: int) -> socket.socket:
        place = self

        class Socket(socket.socket):
            def connect(self, address) -> None:
                if self.family not in place.families:
                    raise OSError(errno.ENETUNREACH, "no route")

        self.opened.append(Socket(family, kind))
        return self.opened[-1]


INSIDE, OUTSIDE = "inside", "outside"
BOTH = (socket.AF_INET, socket.AF_INET6)


def asked_from(server: str, *families: int, own: tuple[str, ...] = (), kind: int = socket.SOCK_DGRAM) -> str:
    """From which namespace the server is asked by a container that has routes of these families."""
    inside, outside = Place(*families), Place(*BOTH)
    upstream = Upstream(inside.open, outside.open, lambda: ("9.9.9.9",), own)
    try:
        with upstream.open(server, kind) as link:
            return INSIDE if link in inside.opened else OUTSIDE
    finally:
        upstream.close()
        assert all(each.fileno() == -1 for each in (*inside.opened, *outside.opened)), "sockets were left open"


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_the_hosts_nameservers_are_asked_from_the_container_where_it_has_a_route(kind: int) -> None:
    v4, v6 = BOTH
    assert asked_from("9.9.9.9", v4, kind=kind) == INSIDE
    assert asked_from("2620:fe::9", v6, kind=kind) == INSIDE
    assert asked_from("2620:fe::9", v4, kind=kind) == OUTSIDE
    assert asked_from("127.0.0.53", v4, v6, kind=kind) == OUTSIDE
    assert asked_from("::1", v4, v6, kind=kind) == OUTSIDE
    assert asked_from("fe80::1%eth0", v4, v6, kind=kind) == OUTSIDE


@pytest.mark.parametrize("server", ["9.9.9.9", "127.0.0.53", "2620:fe::9"])
def test_a_container_without_a_way_out_asks_no_nameserver_of_the_host(server: str) -> None:
    with pytest.raises(OSError, match="no way out"):
        asked_from(server)


def test_the_containers_own_nameservers_replace_the_hosts_and_are_asked_from_inside() -> None:
    for server in ("1.2.3.4", "127.0.0.1", "fd00::1"):
        assert asked_from(server, own=(server,)) == INSIDE
    assert Upstream(Place().open, Place().open, lambda: ("9.9.9.9",), ("1.2.3.4",)).servers() == ("1.2.3.4",)
    assert Upstream(Place().open, Place().open, lambda: ("9.9.9.9",)).servers() == ("9.9.9.9",)


def test_the_resolver_never_asks_itself() -> None:
    assert Upstream(Place().open, Place().open, lambda: ("9.9.9.9",), ("127.0.0.11",)).servers() == ()
