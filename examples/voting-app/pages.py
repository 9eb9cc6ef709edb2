"""HTTP for the parts with pages: handlers return an answer, and this module sends it."""

import http.client
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from line_protocol import TIMEOUT_SECONDS, end_on_sigterm

PORT = 8080
MAX_BODY_BYTES = 64 * 1024


class Answer(NamedTuple):
    """Status, content type and body; ``location`` is where a redirect leads."""

    status: int
    kind: str
    body: str
    location: str = ""


def page(title: str, body: str) -> Answer:
    return Answer(200, "text/html; charset=utf-8", f"<!doctype html><title>{title}</title><h1>{title}</h1>\n{body}\n")


def serve(answer: Callable[[str, str, str], Answer]) -> None:
    """Serve on port 8080 until SIGTERM. ``answer`` gets method, path and body."""

    class Handler(BaseHTTPRequestHandler):
        timeout = TIMEOUT_SECONDS

        def do_GET(self) -> None:
            self.send(answer("GET", self.path, ""))

        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length") or 0), MAX_BODY_BYTES)
            self.send(answer("POST", self.path, self.rfile.read(length).decode(errors="replace")))

        def send(self, found: Answer) -> None:
            body = found.body.encode()
            self.send_response(found.status)
            self.send_header("Content-Type", found.kind)
            self.send_header("Content-Length", str(len(body)))
            if found.location:
                self.send_header("Location", found.location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Requests are not logged."""

    end_on_sigterm()
    with ThreadingHTTPServer(("", PORT), Handler) as server:
        server.serve_forever()


def healthy() -> bool:
    """Whether the server of this container answers."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=TIMEOUT_SECONDS)
    connection.request("GET", "/health")
    return connection.getresponse().status == http.client.OK
