"""HTTP/1.1 on a socket: bodies of every framing in pieces of every size, and servers that do not speak HTTP."""

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from cli.http_connection import MAX_HEAD_BYTES, MalformedResponseError, Response, send_request

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nWiki\r\n6\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nA: b\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\ncontent-LENGTH:  5 \r\n\r\nhello"
UNTIL_CLOSED = b"HTTP/1.0 200 OK\r\n\r\nhello"


@contextmanager
def served(data: bytes, piece: int = 1 << 20) -> Iterator[socket.socket]:
    """A connection on which a server sends these bytes in pieces and closes."""
    client, server = socket.socketpair()

    def serve() -> None:
        with server:
            for start in range(0, len(data), piece):
                try:
                    server.sendall(data[start : start + piece])
                except OSError:
                    return  # the client has seen enough

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client.settimeout(10)
        yield client
    finally:
        client.close()
        thread.join(10)


@pytest.mark.parametrize("piece", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize(
    ("data", "body"), [(CHUNKED, b"Wikipedia in \r\n\r\nchunks."), (SIZED, b"hello"), (UNTIL_CLOSED, b"hello")]
)
def test_a_body_is_read_whatever_its_framing(data: bytes, body: bytes, piece: int) -> None:
    with served(data, piece) as sock:
        response = Response(sock, "GET")
        assert response.status == 200
        assert response.read() == body
        assert response.read1() == b""


@pytest.mark.parametrize("head", [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n"])
def test_a_response_without_a_body_ends_with_its_head(head: bytes) -> None:
    with served(head) as sock:
        assert Response(sock, "GET").read() == b""
    with served(SIZED.replace(b"hello", b"")) as sock:
        assert Response(sock, "HEAD").read() == b""


def test_no_byte_behind_the_head_is_read_before_it_is_asked_for() -> None:
    with served(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nfirst", 3) as sock:
        response = Response(sock, "POST")
        assert (response.status, response.headers["upgrade"]) == (101, "tcp")
        assert sock.makefile("rb").read(5) == b"first"  # the server may have sent a part only


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (MAX_HEAD_BYTES // 5),
    ],
    ids=range(12),
)
def test_what_is_not_http_or_ends_too_early_is_an_error(data: bytes) -> None:
    with served(data) as sock, pytest.raises(MalformedResponseError):
        Response(sock, "GET").read()


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (None, b"Content-Length: 0\r\n\r\n"),
        (b"ab", b"Content-Length: 2\r\n\r\nab"),
        (
            (b"ab", b"", b"c" * 17),
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n11\r\n" + b"c" * 17 + b"\r\n0\r\n\r\n",
        ),
    ],
)
def test_a_request_has_its_body_in_the_framing_that_it_announces(
    body: bytes | Iterable[bytes] | None, sent: bytes
) -> None:
    client, server = socket.socketpair()
    with client, server:
        send_request(client, "POST", "/v1.50/x?a=b", {"X-A": "b"}, body)
        client.shutdown(socket.SHUT_WR)
        found = server.makefile("rb").read()
    assert found.startswith(b"POST /v1.50/x?a=b HTTP/1.1\r\n")
    assert b"\r\nX-A: b\r\n" in found
    assert found.endswith(sent)


def test_a_chunk_header_that_never_ends_is_an_error() -> None:
    client, server = socket.socketpair()
    with client, server:
        client.settimeout(10)
        server.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 10_000)
        with pytest.raises(MalformedResponseError):
            Response(client, "GET").read()
