"""Connections of the host's own programs to [::1], led to containers at the socket: in a network namespace of the test."""

import ctypes
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.network.bpf.loopback6 import Loopback6, LoopbackPort, LoopbackTarget, namespace_cookie

V4, V6 = "10.150.0.1", "fd00::9"
_NEW_NETWORK = 0x40000000


def cgroup_root() -> str:
    unified = Path("/sys/fs/cgroup/unified")
    return str(unified if unified.exists() else unified.parent)


def in_new_namespace(work: Callable[[], None]) -> None:
    """Run `work` on a thread with a network namespace of its own. Raises what it raises."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(_NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "unshare")
            for command in ("ip link set lo up", f"ip addr add {V4}/32 dev lo", f"ip addr add {V6}/128 dev lo nodad"):
                subprocess.run(command.split(), check=True)
            work()
        except BaseException as error:  # raised again in the test's thread
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


@pytest.fixture
def serve() -> Iterator[Callable[[str, int], socket.socket]]:
    opened: list[socket.socket] = []

    def bind(address: str, kind: int) -> socket.socket:
        server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        opened.append(server)
        server.settimeout(5)
        server.bind((address, 80))
        if kind == socket.SOCK_STREAM:
            server.listen()
        return server

    yield bind
    for server in opened:
        server.close()


@pytest.mark.parametrize("address", [V4, V6])
def test_a_connection_to_loopback_reaches_the_container(
    address: str, serve: Callable[[str, int], socket.socket]
) -> None:
    def work() -> None:
        server = serve(address, socket.SOCK_STREAM)
        redirect = Loopback6(cgroup_root(), namespace_cookie())
        redirect.set_ports({LoopbackPort("tcp", 8080): LoopbackTarget(address, 80)})
        with socket.create_connection(("::1", 8080), timeout=5) as client:
            accepted, _ = server.accept()
            accepted.close()
            redirect.close()  # a connection goes on without the daemon
            assert client.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("::1", 8080), timeout=5)

    in_new_namespace(work)


def test_a_datagram_without_connect_is_answered_from_loopback(serve: Callable[[str, int], socket.socket]) -> None:
    def work() -> None:
        server = serve(V6, socket.SOCK_DGRAM)
        redirect = Loopback6(cgroup_root(), namespace_cookie())
        redirect.set_ports({LoopbackPort("udp", 53): LoopbackTarget(V6, 80)})
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.sendto(b"question", ("::1", 53))
            _, source = server.recvfrom(100)
            server.sendto(b"answer", source)
            data, sender = client.recvfrom(100)
        redirect.close()
        assert (data, sender[:2]) == (b"answer", ("::1", 53))

    in_new_namespace(work)


def test_a_port_that_is_taken_back_and_other_namespaces_are_left_alone(
    serve: Callable[[str, int], socket.socket],
) -> None:
    def work() -> None:
        serve(V4, socket.SOCK_STREAM)
        redirect = Loopback6(cgroup_root(), namespace_cookie())
        port = {LoopbackPort("tcp", 8080): LoopbackTarget(V4, 80)}
        redirect.set_ports(port)
        redirect.set_ports({})
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("::1", 8080), timeout=5)
        redirect.close()
        elsewhere = Loopback6(cgroup_root(), namespace_cookie() + 1)
        elsewhere.set_ports(port)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("::1", 8080), timeout=5)
        elsewhere.close()

    in_new_namespace(work)


def test_nothing_stays_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    Loopback6(cgroup_root(), namespace_cookie()).close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
