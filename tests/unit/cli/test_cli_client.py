"""The HTTP client against a server on a Unix socket: responses, refusals, streams, hijacked connections."""

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.client import DaemonClient, DaemonError, UnreachableError
from cli.main import main


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "client"

    def log_message(self, *args: object) -> None:
        return

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status: int, data: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        if "/refuse" in self.path:
            self.answer(409, b'{"message": "secret token is in use"}')
        elif "/two-lines" in self.path:
            self.answer(500, b'{"message": "first\\nsecond"}')
        elif "/plain" in self.path:
            self.answer(502, b"no such thing here", "text/plain")
        elif "/stream" in self.path:
            self.answer(200, b'{"a": 1}\r\n{"a": 2}\n\n{"error": "broke"}\n')
        elif "/cut" in self.path:
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"{}")
            self.close_connection = True
        elif self.path.endswith(("/secrets", "/info")):
            self.answer(200, b"[]")
        else:
            self.answer(200, json.dumps({"path": self.path}).encode())

    def do_POST(self) -> None:
        data = self.body()
        if "/hijack" in self.path:
            self.wfile.write(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: t\r\nConnection: Upgrade\r\n\r\nfirst")
            self.wfile.write(self.rfile.readline().upper())
            self.close_connection = True
        elif "/size" in self.path:
            self.answer(200, json.dumps({"size": len(data)}).encode())
        else:
            self.answer(204, b"")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonClient]:
    path = tmp_path / "covey.sock"

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    with Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield DaemonClient(f"unix://{path}")
        finally:
            server.shutdown()
            thread.join()


def test_query_encodes_filters_as_json_repeats_lists_and_omits_empty_values(daemon: DaemonClient) -> None:
    query = {"filters": {"name": ["a b"]}, "names": ["x", "y"], "all": True, "none": None, "empty": "", "off": False}
    path = daemon.get("/things", query)["path"]
    assert path == "/v1.50/things?filters=%7B%22name%22%3A%5B%22a%20b%22%5D%7D&names=x&names=y&all=1"


def test_a_refusal_has_the_status_and_the_daemons_message(daemon: DaemonClient) -> None:
    with pytest.raises(DaemonError) as refused:
        daemon.get("/refuse")
    assert (refused.value.status, refused.value.message) == (409, "secret token is in use")
    with pytest.raises(DaemonError, match="no such thing here"):
        daemon.get("/plain")


def test_an_empty_response_is_none(daemon: DaemonClient) -> None:
    assert daemon.post("/nothing", body={"a": 1}) is None


def test_an_error_in_a_stream_of_documents_is_raised(daemon: DaemonClient) -> None:
    seen = []
    with pytest.raises(DaemonError, match="broke"):
        seen.extend(daemon.lines("GET", "/stream"))
    lines = daemon.lines("GET", "/stream")
    assert [next(lines), next(lines)] == [{"a": 1}, {"a": 2}]


def test_an_archive_is_sent_in_chunks(daemon: DaemonClient) -> None:
    pieces = (b"x" * 1000 for _ in range(1000))
    assert list(daemon.lines("POST", "/size", stream=pieces)) == [{"size": 1_000_000}]


def test_no_byte_is_lost_when_a_connection_is_hijacked(daemon: DaemonClient) -> None:
    stream, kind = daemon.hijack("POST", "/hijack", body={})
    with stream:
        stream.sendall(b"hello\n")
        received = b""
        while data := stream.recv(100):
            received += data
    assert (kind, received) == ("t", b"firstHELLO\n")


def test_a_truncated_response_is_an_error(daemon: DaemonClient) -> None:
    with pytest.raises(UnreachableError, match="closed the connection"):
        daemon.get("/cut")


def test_an_unreachable_daemon_is_one_line_and_exit_code_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-H", f"unix://{tmp_path}/none.sock", "node", "ls"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"covey: cannot connect to the daemon at unix://{tmp_path}/none.sock: is coveyd running?\n"


def test_a_refusal_of_several_lines_is_printed_as_one(daemon: DaemonClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-H", daemon.host, "secret", "ls"]) == 0
    capsys.readouterr()
    assert main(["-H", daemon.host, "node", "inspect", "two-lines"]) == 1
    assert capsys.readouterr().err == "Error response from daemon: first second\n"
