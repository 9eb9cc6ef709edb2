"""An Engine API that records requests and answers the least that clients accept: judges what a client sends for its flags."""

from __future__ import annotations

import contextlib
import json
import os
import socketserver
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.support import labs

API_VERSION = "1.50"
CONTAINER_ID = "c" * 64
CLIENT_SECONDS = 30
# Headers of requests that say something about their meaning.
KEPT_HEADERS = ("X-Registry-Auth", "X-Registry-Config", "Content-Type")


@dataclass(frozen=True)
class Request:
    """One request. ``path`` has no version, ``body`` is decoded where it is JSON."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64  # clients send several requests side by side
    requests: list[Request]
    answers: dict[str, Any]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def address_string(self) -> str:
        return "client"

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""

    def handle_request(self) -> None:
        parts = urlsplit(self.path)
        path = unquote("/" + parts.path.split("/", 2)[2] if parts.path.startswith("/v1.") else parts.path)
        data = self._body()
        body: Any = data
        if "json" in self.headers.get("Content-Type", ""):
            body = json.loads(data or b"null")
        if path != "/_ping":
            kept = {name: self.headers[name] for name in KEPT_HEADERS if name in self.headers}
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            self.server.requests.append(Request(self.command, path, query, kept, body))
        self._answer(path)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _answer(self, path: str) -> None:
        answer: Any = {"Id": CONTAINER_ID, "ID": CONTAINER_ID, "Warnings": [], "Name": "n", "State": {}, "Config": {}}
        if path in self.server.answers:
            answer = self.server.answers[path]
        elif path == "/_ping":
            answer = "OK"
        elif path.startswith("/images/") and path.endswith(("/create", "/push")):
            answer = {"status": "done"}
        data = json.dumps({"message": "not found"} if answer is None else answer).encode()
        self.send_response(200 if answer is not None else 404)
        self.send_header("Api-Version", API_VERSION)
        self.send_header("OSType", "linux")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_GET(self) -> None:
        self.handle_request()

    def do_POST(self) -> None:
        self.handle_request()

    def do_PUT(self) -> None:
        self.handle_request()

    def do_HEAD(self) -> None:
        self.handle_request()

    def do_DELETE(self) -> None:
        self.handle_request()


class RecordingEngine:
    """The server, and the clients that speak to it. ``answers`` has the documents that it serves, by path; None is a 404."""

    def __init__(self, server: _Server, path: Path, home: Path) -> None:
        self._server = server
        self.host = f"unix://{path}"
        self.home = home
        self.answers = server.answers
        self.covey_program = labs.PYTHON_BIN / "covey"

    @property
    def requests(self) -> list[Request]:
        """The requests since the last client of ``outcome`` began."""
        return list(self._server.requests)

    def run(self, program: str | os.PathLike[str], arguments: Sequence[str], stdin: bytes = b"") -> list[Request]:
        """What a client sends for these arguments. Fails if the client fails."""
        code, error, requests = self.outcome(program, arguments, stdin)
        assert code == 0, error
        return requests

    def outcome(
        self, program: str | os.PathLike[str], arguments: Sequence[str], stdin: bytes = b""
    ) -> tuple[int, str, list[Request]]:
        """The exit code, the text on stderr and the requests of a client."""
        self._server.requests.clear()
        environment = {
            **os.environ,
            "DOCKER_HOST": self.host,
            "COVEY_HOST": self.host,
            "DOCKER_CONFIG": str(self.home),
            "FROM_ENVIRONMENT": "found",
        }
        done = subprocess.run(
            [program, *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=CLIENT_SECONDS,
            env=environment,
            cwd=self.home,
        )
        return done.returncode, done.stderr.decode(), list(self._server.requests)

    def printed(self, program: str | os.PathLike[str], *arguments: str) -> str:
        """What a client prints for the answers of this engine."""
        environment = {**os.environ, "DOCKER_HOST": self.host, "COVEY_HOST": self.host, "DOCKER_CONFIG": str(self.home)}
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, check=False, timeout=CLIENT_SECONDS, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def docker(self, *arguments: str, stdin: bytes = b"") -> list[Request]:
        return self.run("docker", arguments, stdin)

    def covey(self, *arguments: str, stdin: bytes = b"") -> list[Request]:
        return self.run(self.covey_program, arguments, stdin)


@contextlib.contextmanager
def recording(directory: Path) -> Iterator[RecordingEngine]:
    """A recording engine at a socket in ``directory``. Clients run in ``directory / "home"``, which is their configuration too."""
    path, home = directory / "engine.sock", directory / "home"
    home.mkdir()
    with _Server(str(path), _Handler) as server:
        server.requests, server.answers = [], {}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield RecordingEngine(server, path, home)
        finally:
            server.shutdown()
            thread.join(10)
