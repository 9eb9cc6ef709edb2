"""The protocol between the parts: a request is one line over TCP, and so is its answer."""

import signal
import socket
import socketserver
import sys
from collections.abc import Callable

TIMEOUT_SECONDS = 3.0
MAX_LINE_BYTES = 64 * 1024


def ask(server: str, request: str) -> str:
    """The answer of the server at HOST:PORT.

    Raises:
        OSError: the server cannot be reached, or closes the connection without an answer.
    """
    host, _, port = server.partition(":")
    with (
        socket.create_connection((host, int(port)), TIMEOUT_SECONDS) as connection,
        connection.makefile("rw") as stream,
    ):
        stream.write(f"{request}\n")
        stream.flush()
        answer = stream.readline(MAX_LINE_BYTES)
    if not answer.endswith("\n"):
        message = f"no answer from {server}"
        raise ConnectionError(message)
    return answer.rstrip("\n")


def serve(port: int, answer: Callable[[str], str]) -> None:
    """Answer each line on this port, until SIGTERM. ``answer`` is called by several threads."""

    class Handler(socketserver.StreamRequestHandler):
        timeout = TIMEOUT_SECONDS

        def handle(self) -> None:
            while line := self.rfile.readline(MAX_LINE_BYTES):
                self.wfile.write(f"{answer(line.decode().strip())}\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    end_on_sigterm()
    with Server(("", port), Handler) as server:
        server.serve_forever()


def end_on_sigterm() -> None:
    """Process 1 of a container ignores SIGTERM unless it has a handler."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
