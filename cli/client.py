"""The Engine API over a Unix socket, with nothing but the standard library. Every command meets the daemon here.

Law: what the daemon refuses is raised as ``DaemonError`` with its own words; nothing is retried. Ordinary answers have a deadline;
streams (logs, events, archives, terminals) last as long as both ends want.
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
    """The daemon refused; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class UnreachableError(CoveyError):
    """Nobody answers at the socket."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("covey", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def daemon_host(environment: Mapping[str, str] = os.environ) -> str:
    """Where the daemon listens: COVEY_HOST, then DOCKER_HOST, then the default."""
    return environment.get("COVEY_HOST") or environment.get("DOCKER_HOST") or DEFAULT_HOST


def path_segment(text: str) -> str:
    """A name as one part of a path."""
    return quote(text, safe="")


class DaemonClient:
    """One daemon. Each call is a connection of its own."""

    def __init__(self, host: str, timeout_seconds: float = RESPONSE_TIMEOUT_SECONDS) -> None:
        if not host.startswith("unix://") or len(host) <= len("unix://"):
            raise InvalidArgumentError(f"{host!r} is not a Unix socket; give the daemon's as unix:///path/covey.sock")
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
        """The decoded JSON of an answer; None when it has none."""
        with self.open(method, path, query, body, seconds=self._timeout_seconds) as answer:
            try:
                data = answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise self._connection_lost(error) from error
        if not data.strip():
            return None
        if "json" not in (answer.getheader("Content-Type") or ""):
            return data.decode(errors="replace")
        return json.loads(data)

    def lines(self, method: str, path: str, query: Query | None = None, *, stream: Body | None = None) -> Iterator[Any]:
        """The JSON documents of a streamed answer. A line with an error, as Docker puts it, is raised."""
        with self.open(method, path, query, stream=stream) as answer:
            for line in self._read_lines(answer):
                item = json.loads(line)
                if isinstance(item, dict) and item.get("error"):
                    raise DaemonError(500, str(item["error"]))
                yield item

    def chunks(self, method: str, path: str, query: Query | None = None) -> Iterator[bytes]:
        """The bytes of a streamed answer as they come."""
        with self.open(method, path, query) as answer:
            while data := self._read(answer):
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
        """A successful answer, to be read while it comes.

        Raises:
            DaemonError: any status from 400 on.
            UnreachableError: nobody answers.
        """
        connection = _Connection(self._path, seconds)
        try:
            yield self._send(connection, method, path, query, body, stream, headers)
        finally:
            connection.close()

    def hijack(self, method: str, path: str, query: Query | None = None, body: Any = None) -> tuple[socket.socket, str]:
        """The connection itself after the daemon has switched it over, and the type of what comes through it."""
        connection = _Connection(self._path, None)
        try:
            answer = self._send(
                connection, method, path, query, body, None, {"Connection": "Upgrade", "Upgrade": "tcp"}, upgrade=True
            )
            stream = connection.sock.dup()
        finally:
            connection.close()
        return stream, answer.getheader("Content-Type") or ""

    def _send(  # noqa: PLR0917 — the parts of a request, in their order
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
            pass  # the daemon refused before it read everything; its answer says why
        except OSError as error:
            raise self._unreachable(error) from error
        try:
            answer = _unbuffered_response(connection) if upgrade else connection.getresponse()
            if answer.status >= 400:
                raise DaemonError(answer.status, _error_message(answer))
        except (OSError, http.client.HTTPException) as error:
            raise self._connection_lost(error) from error
        return answer

    def _read_lines(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        rest = b""
        while data := self._read(answer):
            *lines, rest = (rest + data).split(b"\n")
            yield from (line for line in lines if line.strip())
        if rest.strip():
            yield rest

    def _read(self, answer: http.client.HTTPResponse) -> bytes:
        try:
            return answer.read1(CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise self._connection_lost(error) from error

    def _unreachable(self, error: OSError) -> UnreachableError:
        if isinstance(error, PermissionError):
            return UnreachableError(f"{self.host} may not be used by this user: be root or in the group covey")
        return UnreachableError(f"cannot connect to the daemon at {self.host}: is coveyd running?")

    def _connection_lost(self, error: Exception) -> CoveyError:
        if isinstance(error, TimeoutError):
            return UnreachableError(f"the daemon at {self.host} did not answer within {self._timeout_seconds:.0f} s")
        return UnreachableError(f"the daemon at {self.host} closed the connection ({type(error).__name__})")


class _UnbufferedResponse(http.client.HTTPResponse):
    """Reads the head alone, so that no byte behind it is lost in a buffer."""

    def __init__(self, sock: socket.socket, **options: Any) -> None:
        super().__init__(sock, **options)
        self.fp.close()
        self.fp = sock.makefile("rb", buffering=0)  # type: ignore[assignment]


def _unbuffered_response(connection: _Connection) -> http.client.HTTPResponse:
    connection.response_class = _UnbufferedResponse
    answer = _UnbufferedResponse(connection.sock, method="GET")
    answer.begin()
    while answer.status == http.HTTPStatus.CONTINUE:
        answer.begin()
    return answer


def _query_string(query: Query | None) -> str:
    """Absent and empty values are left out; lists repeat; mappings are filters, which go as JSON."""
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


def _error_message(answer: http.client.HTTPResponse) -> str:
    text = answer.read(CHUNK_BYTES).decode(errors="replace").strip()
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text or f"{answer.status} {answer.reason}"
