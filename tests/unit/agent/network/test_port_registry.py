"""Reservations of ports on a host: conflicts between containers and with other programs, ranges, drawn ports, all or nothing."""

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.network import port_owner
from agent.network.port_registry import PortOwner, PortRegistry
from covey.errors import InvalidArgumentError, PortInUseError

ANY = ("0.0.0.0", "::")


@pytest.fixture
def registry() -> Iterator[PortRegistry]:
    found = PortRegistry(socket.socket, port_owner)
    yield found
    found.close()


def owner(name: str) -> PortOwner:
    return PortOwner(f"id-{name}", name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_port_belongs_to_one_container_and_the_error_names_it(registry: PortRegistry) -> None:
    port = free_port()
    assert registry.reserve(owner("web"), "tcp", ANY, port, port) == port
    with pytest.raises(PortInUseError, match=rf"Bind for 0.0.0.0:{port} failed: port is already allocated \(by web\)"):
        registry.reserve(owner("other"), "tcp", ANY, port, port)
    with pytest.raises(PortInUseError, match="allocated"):
        registry.reserve(owner("other"), "tcp", ("127.0.0.1",), port, port)
    assert registry.reserve(owner("other"), "udp", ANY, port, port) == port
    registry.release("id-web")
    assert registry.reserve(owner("other"), "tcp", ANY, port, port) == port


def test_two_containers_share_a_port_on_different_addresses(registry: PortRegistry) -> None:
    port = free_port()
    registry.reserve(owner("one"), "tcp", ("127.0.0.1",), port, port)
    assert registry.reserve(owner("two"), "tcp", ("127.0.0.2",), port, port) == port


def test_reserving_again_keeps_what_is_held(registry: PortRegistry) -> None:
    port = free_port()
    registry.reserve(owner("web"), "tcp", ANY, port, port)
    assert registry.reserve(owner("web"), "tcp", ANY, port, port) == port
    assert len(registry.held_by("id-web")) == 2


def test_a_range_gives_its_first_free_port(registry: PortRegistry) -> None:
    port = free_port()
    registry.reserve(owner("web"), "sctp", ANY, port, port)
    assert registry.reserve(owner("two"), "sctp", ANY, port, port + 2) == port + 1


def test_a_failed_reservation_holds_nothing(registry: PortRegistry) -> None:
    with socket.socket(socket.AF_INET6) as foreign:
        foreign.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        foreign.bind(("::", 0))
        foreign.listen()
        port = foreign.getsockname()[1]
        with pytest.raises(PortInUseError):
            registry.reserve(owner("web"), "tcp", ANY, port, port)
        assert registry.held_by("id-web") == ()


def test_another_program_on_the_port_is_named(registry: PortRegistry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        with pytest.raises(PortInUseError) as caught:
            registry.reserve(owner("web"), "tcp", ANY, port, port)
    assert f"failed to bind host port 0.0.0.0:{port}/tcp: address already in use" in caught.value.message
    assert (
        f"(by {Path('/proc/self/comm').read_text().strip()}, process {Path('/proc/self').readlink()})"
        in caught.value.message
    )


def test_a_program_cannot_take_a_reserved_port(registry: PortRegistry) -> None:
    port = registry.reserve(owner("web"), "tcp", ANY, 0, 0)
    with pytest.raises(OSError, match="in use") as caught:
        socket.create_server(("0.0.0.0", port)).close()
    assert caught.value.errno == errno.EADDRINUSE


def test_a_port_that_only_ended_connections_keep_is_taken_over(registry: PortRegistry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # this side closes first, and keeps the port in TIME_WAIT
            assert client.recv(1) == b""
    assert registry.reserve(owner("web"), "tcp", ("0.0.0.0",), port, port) == port


def test_a_drawn_port_is_free_on_all_addresses_and_not_drawn_again_at_once(registry: PortRegistry) -> None:
    first = registry.reserve(owner("web"), "tcp", ANY, 0, 0)
    assert 32768 <= first <= 60999
    registry.release("id-web")
    assert registry.reserve(owner("web"), "tcp", ANY, 0, 0) != first


def test_an_address_of_another_host_is_refused(registry: PortRegistry) -> None:
    with pytest.raises(InvalidArgumentError, match="192.0.2.77 is not an address of this host"):
        registry.reserve(owner("web"), "tcp", ("192.0.2.77",), 8080, 8080)
