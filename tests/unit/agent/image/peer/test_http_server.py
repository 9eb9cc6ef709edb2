"""Requests that the image server of a node understands."""

import io

import pytest

from agent.image.peer.http_server import BadRequestError, Request, read_request


@pytest.mark.parametrize(
    ("received", "request_"),
    [
        (b"", None),
        (b"GET /v2/x HTTP/1.1\r\n\r\n", Request("GET", "/v2/x")),
        (b"GET /v2/x HTTP/1.1\r\nRange: bytes=17-\r\n\r\n", Request("GET", "/v2/x", 17)),
        (b"GET /v2/x HTTP/1.1\r\nConnection: Close\r\n\r\n", Request("GET", "/v2/x", keep_alive=False)),
        (b"HEAD / HTTP/1.1\nHost: me\n\n", Request("HEAD", "/")),
    ],
)
def test_a_request_is_understood(received: bytes, request_: Request | None) -> None:
    assert read_request(io.BytesIO(received)) == request_


@pytest.mark.parametrize(
    "received",
    [
        b"GET /v2/x HTTP/1.0\r\n\r\n",
        b"GET  /v2/x HTTP/1.1\r\n\r\n",
        b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nRange: bytes=1-2\r\n\r\n",
        b"GET / HTTP/1.1\r\nRange: bytes=-5\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(received: bytes) -> None:
    with pytest.raises(BadRequestError):
        read_request(io.BytesIO(received))
