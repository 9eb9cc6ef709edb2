"""HTTP client for the Engine API calls with which a lab forms its cluster."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from covey.errors import CoveyError


class SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("covey", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def call(path: Path, method: str, url: str, body: object = None, *, timeout_seconds: float = 60.0) -> Any:
    """Send one request and return the decoded response.

    Raises:
        CoveyError: the daemon refused; the message is its own.
        OSError: no daemon listens.
    """
    connection = SocketConnection(path, timeout_seconds)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, url, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    decoded = json.loads(text) if text.strip().startswith(("{", "[", '"')) else text
    if answer.status >= http.client.BAD_REQUEST:
        raise CoveyError(decoded["message"] if isinstance(decoded, dict) else str(decoded))
    return decoded


def answers(path: Path) -> bool:
    """Whether a daemon answers on this socket."""
    try:
        call(path, "GET", "/_ping", timeout_seconds=2.0)
    except (OSError, CoveyError, http.client.HTTPException):
        return False
    return True
