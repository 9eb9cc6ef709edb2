"""The client's TLS connection against OpenSSL's own, over a pair of connected sockets."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.daemon_address import TlsFiles
from cli.tls_socket import TlsSocket, make_context
from tests.support.tls_files import make_tls_files

SECONDS = 20.0


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls") / "files"
    make_tls_files(folder)
    return folder


@contextlib.contextmanager
def connected(tls: Path, serve: Callable[[ssl.SSLSocket], None]) -> Iterator[TlsSocket]:
    """A client's connection to a server in a thread."""
    near, far = socket.socketpair()
    near.settimeout(SECONDS)
    far.settimeout(SECONDS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "server-cert.pem", tls / "server-key.pem")

    def run() -> None:
        with far, context.wrap_socket(far, server_side=True) as wrapped:
            serve(wrapped)

    thread = threading.Thread(target=run)
    thread.start()
    files = TlsFiles(f"{tls}/ca.pem", f"{tls}/none", f"{tls}/none", verify=True, is_explicit=False)
    try:
        with TlsSocket(near, make_context(files), "localhost") as client:
            yield client
    finally:
        near.close()
        thread.join(SECONDS)


def read_all(client: TlsSocket) -> bytes:
    parts = []
    while data := client.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)


def test_peeking_takes_nothing(tls: Path) -> None:
    with connected(tls, lambda server: server.sendall(b"hello")) as client:
        assert client.recv(3, socket.MSG_PEEK) == b"hel"
        assert client.pending() == 5
        assert client.recv(2) == b"he"
        assert client.recv(100) == b"llo"


def test_output_follows_after_the_input_has_ended(tls: Path) -> None:
    data = b"x" * 200_000

    def echo(server: ssl.SSLSocket) -> None:
        received = b""
        while part := server.recv(1 << 16):
            received += part
        server.sendall(received)
        server.unwrap()

    with connected(tls, echo) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == data


def test_reading_goes_on_while_the_peer_does_not_read(tls: Path) -> None:
    """1. The client's output fills the connection. 2. The server writes before it reads. 3. The client reads that, and its output goes on."""
    data, answer = b"i" * 2_000_000, b"o" * 2_000_000
    received = bytearray()

    def write_first(server: ssl.SSLSocket) -> None:
        server.sendall(answer)
        while part := server.recv(1 << 16):
            received.extend(part)
        server.unwrap()

    with connected(tls, write_first) as client:
        client.settimeout(None)
        rest, output, deadline = memoryview(data), bytearray(), time.monotonic() + SECONDS
        while len(output) < len(answer):
            assert time.monotonic() < deadline, "reading waits for the peer"
            with contextlib.suppress(BlockingIOError):
                rest = rest[client.send(bytes(rest[: 1 << 16]), socket.MSG_DONTWAIT) :] if rest else rest
            with contextlib.suppress(BlockingIOError):
                output += client.recv(1 << 16, socket.MSG_DONTWAIT)
        client.sendall(bytes(rest))
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert bytes(output) == answer
    assert bytes(received) == data


def test_a_connection_that_breaks_is_no_end_of_data(tls: Path) -> None:
    with (
        connected(tls, lambda server: socket.socket(fileno=server.detach()).close()) as client,
        pytest.raises(ConnectionResetError),
    ):
        client.recv(1)


def test_another_name_is_refused_with_the_reason(tls: Path) -> None:
    near, far = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "server-cert.pem", tls / "server-key.pem")

    def serve() -> None:
        with contextlib.suppress(OSError):
            context.wrap_socket(far, server_side=True)

    thread = threading.Thread(target=serve)
    thread.start()
    files = TlsFiles(f"{tls}/ca.pem", f"{tls}/none", f"{tls}/none", verify=True, is_explicit=False)
    with near, pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        TlsSocket(near, make_context(files), "other.example")
    thread.join(SECONDS)
    far.close()
