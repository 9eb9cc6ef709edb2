"""HTTP client of the Engine API over a Unix socket, built on the standard library. All commands talk to the daemon through it.

Invariant: a refusal by the daemon is raised as ``DaemonError`` with the daemon's message. Nothing is retried. Ordinary requests have a
timeout; streams (logs, events, archives, terminals) have none.
"""

import http.client
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any
from urllib.parse import quote, urlencode

from covey.errors import CoveyError, InvalidArgumentError

DEFAULT_HOST = "unix:///run/covey/covey.sock"
API_VERSION = "1.50"
RESPONSE_TIMEOUT_SECONDS = 120.0
CHUNK_BYTES = 1 << 16

Body = Iterable[bytes] | IO[bytes]
Query = Mapping[str, Any]


class DaemonError(CoveyError):
    """The daemon refused a request; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class UnreachableError(CoveyError):
    """The daemon does not answer at the socket."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("covey", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def daemon_host(environment: Mapping[str, str] = os.environ) -> str:
    """The daemon's address: COVEY_HOST, else DOCKER_HOST, else the default."""
    return environment.get("COVEY_HOST") or environment.get("DOCKER_HOST") or DEFAULT_HOST


def path_segment(text: str) -> str:
    """A name as one segment of a URL path."""
    return quote(text, safe="")


class DaemonClient:
    """A client of one daemon. Each request uses its own connection."""

    def __init__(self, host: str, timeout_seconds: float = RESPONSE_TIMEOUT_SECONDS) -> None:
        if not host.startswith("unix://") or len(host) <= len("unix://"):
            raise InvalidArgumentError(f"{host!r} is not a Unix socket address; give one such as {DEFAULT_HOST}")
        self.host = host
        self._timeout_seconds = timeout_seconds
        self._path = host.removeprefix("unix://")

    def get(self, path: str, query: Query | None = None) -> Any:
        return self.call("GET", path, query)

    def post(self, path: str, query: Query | None = None, body: Any = None) -> Any:
        return self.call("POST", path, query, body)

    def delete(self, path: str, query: Query | None = None) -> Any:
        return self.call("DELETE", path, query)

    def call(self, method: str, path: str, query: Query | None = None, body: Any = None) -> Any:
        """The decoded JSON response; None if the response is empty."""
        with self.open(method, path, query, body, seconds=self._timeout_seconds) as response:
            try:
                data = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise self._connection_lost(error) from error
        if not data.strip():
            return None
        if "json" not in (response.getheader("Content-Type") or ""):
            return data.decode(errors="replace")
        return json.loads(data)

    def lines(self, method: str, path: str, query: Query | None = None, *, stream: Body | None = None) -> Iterator[Any]:
        """The JSON documents of a streamed response. A document with an ``error`` is raised."""
        with self.open(method, path, query, stream=stream) as response:
            for line in self._read_lines(response):
                item = json.loads(line)
                if isinstance(item, dict) and item.get("error"):
                    raise DaemonError(500, str(item["error"]))
                yield item

    def chunks(self, method: str, path: str, query: Query | None = None) -> Iterator[bytes]:
        """The bytes of a streamed response as they arrive."""
        with self.open(method, path, query) as response:
            while data := self._read(response):
                yield data

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        *,
        stream: Body | None = None,
        seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """A successful response that can be read while it arrives.

        Raises:
            DaemonError: the status is 400 or higher.
            UnreachableError: the daemon does not answer.
        """
        connection = _Connection(self._path, seconds)
        try:
            yield self._send(connection, method, path, query, body, stream, headers)
        finally:
            connection.close()

    def hijack(self, method: str, path: str, query: Query | None = None, body: Any = None) -> tuple[socket.socket, str]:
        """The raw connection after the daemon has upgraded it, and its content type."""
        connection = _Connection(self._path, None)
        try:
            response = self._send(
                connection, method, path, query, body, None, {"Connection": "Upgrade", "Upgrade": "tcp"}, upgrade=True
            )
            stream = connection.sock.dup()
        finally:
            connection.close()
        return stream, response.getheader("Content-Type") or ""

    def _send(  # noqa: PLR0917 — the parts of a request in their order
        self,
        connection: _Connection,
        method: str,
        path: str,
        query: Query | None,
        body: Any,
        stream: Body | None,
        headers: Mapping[str, str] | None = None,
        *,
        upgrade: bool = False,
    ) -> http.client.HTTPResponse:
        target = f"/v{API_VERSION}{path}{_query_string(query)}"
        sent = {"User-Agent": "covey", **(headers or {})}
        data: Any = stream
        if stream is not None:
            sent["Content-Type"] = "application/x-tar"
        elif body is not None:
            sent["Content-Type"], data = "application/json", json.dumps(body).encode()
        try:
            connection.request(method, target, data, sent, encode_chunked=stream is not None)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the daemon refused before it read the whole body; its response has the reason
        except OSError as error:
            raise self._unreachable(error) from error
        try:
            response = _unbuffered_response(connection) if upgrade else connection.getresponse()
            if response.status >= 400:
                raise DaemonError(response.status, _error_message(response))
        except (OSError, http.client.HTTPException) as error:
            raise self._connection_lost(error) from error
        return response

    def _read_lines(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        rest = b""
        while data := self._read(response):
            *lines, rest = (rest + data).split(b"\n")
            yield from (line for line in lines if line.strip())
        if rest.strip():
            yield rest

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read1(CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise self._connection_lost(error) from error

    def _unreachable(self, error: OSError) -> UnreachableError:
        if isinstance(error, PermissionError):
            return UnreachableError(
                f"{self.host} cannot be opened by this user: use root or a member of the group covey"
            )
        return UnreachableError(f"cannot connect to the daemon at {self.host}: is coveyd running?")

    def _connection_lost(self, error: Exception) -> CoveyError:
        if isinstance(error, TimeoutError):
            return UnreachableError(f"the daemon at {self.host} did not answer within {self._timeout_seconds:.0f} s")
        return UnreachableError(
            f"the daemon at {self.host} closed the connection ({type(error).__name__}); see the daemon's log"
        )


class _UnbufferedResponse(http.client.HTTPResponse):
    """Reads the header without buffering, so that no byte after it is lost."""

    def __init__(self, sock: socket.socket, **options: Any) -> None:
        super().__init__(sock, **options)
        self.fp.close()
        self.fp = sock.makefile("rb", buffering=0)  # type: ignore[assignment]


def _unbuffered_response(connection: _Connection) -> http.client.HTTPResponse:
    connection.response_class = _UnbufferedResponse
    response = _UnbufferedResponse(connection.sock, method="GET")
    response.begin()
    while response.status == http.HTTPStatus.CONTINUE:
        response.begin()
    return response


def _query_string(query: Query | None) -> str:
    """The query string. Empty values are left out, lists repeat the key, and mappings (filters) are encoded as JSON."""
    pairs: list[tuple[str, str]] = []
    for name, value in (query or {}).items():
        if value is None or value is False or value in ("", {}):
            continue
        if isinstance(value, dict):
            pairs.append((name, json.dumps(value, separators=(",", ":"))))
        elif isinstance(value, list | tuple):
            pairs.extend((name, str(item)) for item in value)
        else:
            pairs.append((name, "1" if value is True else str(value)))
    return f"?{urlencode(pairs)}" if pairs else ""


def _error_message(response: http.client.HTTPResponse) -> str:
    text = response.read(CHUNK_BYTES).decode(errors="replace").strip()
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text or f"{response.status} {response.reason}"
