"""Client of the Engine API over a Unix socket or TCP. All commands talk to the daemon through it.

Invariant: a refusal by the daemon is raised as ``DaemonError`` with the daemon's message. Nothing is retried, except that a daemon with an
older API is asked again in its version. Ordinary requests have a timeout; streams (logs, events, archives, terminals) have none.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from cli.connection import Connection, connect
from cli.daemon_address import DaemonAddress, parse_address
from cli.http_connection import MalformedResponseError, Response, send_request
from covey.errors import CoveyError

API_VERSION = "1.50"
RESPONSE_TIMEOUT_SECONDS = 120.0
CHUNK_BYTES = 1 << 16
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_TOO_NEW = r"client version \S+ is too new\. Maximum supported API version is (1\.[0-9]+)"

Body = Iterable[bytes]
Query = Mapping[str, Any]


class DaemonError(CoveyError):
    """The daemon refused a request; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class UnreachableError(CoveyError):
    """The daemon does not answer at the socket."""


def path_segment(text: str) -> str:
    """A name as one segment of a URL path."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode())


class DaemonClient:
    """A client of one daemon. Each request uses its own connection."""

    def __init__(
        self,
        address: DaemonAddress | str,
        timeout_seconds: float = RESPONSE_TIMEOUT_SECONDS,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._address = parse_address(address) if isinstance(address, str) else address
        self.host = self._address.text
        self._timeout_seconds = timeout_seconds
        self._version = environment.get("DOCKER_API_VERSION") or API_VERSION
        self._negotiated = "DOCKER_API_VERSION" in environment

    def get(self, path: str, query: Query | None = None) -> Any:
        return self.call("GET", path, query)

    def post(self, path: str, query: Query | None = None, body: Any = None) -> Any:
        return self.call("POST", path, query, body)

    def delete(self, path: str, query: Query | None = None) -> Any:
        return self.call("DELETE", path, query)

    def call(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        patient: bool = False,
    ) -> Any:
        """The decoded JSON response; None if the response is empty. ``patient`` waits without a timeout."""
        seconds = None if patient else self._timeout_seconds
        with self.open(method, path, query, body, seconds=seconds, headers=headers) as response:
            try:
                data = response.read()
            except (OSError, MalformedResponseError) as error:
                raise self._connection_lost(error) from error
        if not data.strip():
            return None
        if "json" not in response.headers.get("content-type", ""):
            return data.decode(errors="replace")
        return json.loads(data)

    def lines(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        stream: Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Any]:
        """The JSON documents of a streamed response. A document with an ``error`` is raised."""
        with self.open(method, path, query, stream=stream, headers=headers) as response:
            for line in self._read_lines(response):
                item = json.loads(line)
                if isinstance(item, dict) and item.get("error"):
                    raise DaemonError(500, str(item["error"]))
                yield item

    def chunks(self, method: str, path: str, query: Query | None = None) -> Iterator[bytes]:
        """The bytes of a streamed response as they arrive."""
        with self.open(method, path, query) as response:
            yield from self.body(response)

    def body(self, response: Response) -> Iterator[bytes]:
        """The bytes of an open response as they arrive."""
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
    ) -> Iterator[Response]:
        """A successful response that can be read while it arrives.

        Raises:
            DaemonError: the status is 400 or higher.
            UnreachableError: the daemon does not answer.
        """
        sent = dict(headers or {})
        data: bytes | Body | None = stream
        if stream is not None or method == "HEAD":
            self._negotiate()
        if stream is not None:
            sent["Content-Type"] = "application/x-tar"
        elif body is not None:
            sent["Content-Type"], data = "application/json", json.dumps(body).encode()
        sock, response = self._request(method, path, query, data, sent, seconds)
        with sock:
            yield response

    def hijack(self, method: str, path: str, query: Query | None = None, body: Any = None) -> tuple[Connection, str]:
        """The raw connection after the daemon has upgraded it, and its content type."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        sock, response = self._request(method, path, query, data, headers, None)
        return sock, response.headers.get("content-type", "")

    def _request(  # noqa: PLR0917 - the parts of a request in their order
        self,
        method: str,
        path: str,
        query: Query | None,
        body: bytes | Body | None,
        headers: Mapping[str, str],
        seconds: float | None,
    ) -> tuple[Connection, Response]:
        try:
            return self._send(method, path, query, body, headers, seconds)
        except DaemonError as error:
            found = re.search(_TOO_NEW, error.message)
            if self._negotiated or error.status != 400 or not found:
                raise
        self._version, self._negotiated = found[1], True
        return self._send(method, path, query, body, headers, seconds)

    def _send(  # noqa: PLR0917 - the parts of a request in their order
        self,
        method: str,
        path: str,
        query: Query | None,
        body: bytes | Body | None,
        headers: Mapping[str, str],
        seconds: float | None,
    ) -> tuple[Connection, Response]:
        sock = self._connect(seconds)
        try:
            # A daemon that refuses before it has read the whole body closes the connection; its response has the reason.
            with suppress(BrokenPipeError, ConnectionResetError):
                send_request(sock, method, f"/v{self._version}{path}{_query_string(query)}", headers, body)
            response = Response(sock, method)
            _raise_refusal(response)
        except (OSError, MalformedResponseError) as error:
            sock.close()
            raise self._connection_lost(error) from error
        except BaseException:
            sock.close()
            raise
        return sock, response

    def _connect(self, seconds: float | None) -> Connection:
        try:
            return connect(self._address, seconds)
        except OSError as error:
            raise self._unreachable(error) from error

    def _negotiate(self) -> None:
        """Choose the API version before a body is sent that cannot be sent twice, or if the response has no body that names it."""
        if self._negotiated:
            return
        sock = self._connect(self._timeout_seconds)
        with sock:
            try:
                send_request(sock, "GET", "/_ping", {}, None)
                newest = Response(sock, "GET").headers.get("api-version", "")
            except (OSError, MalformedResponseError) as error:
                raise self._connection_lost(error) from error
        if re.fullmatch(r"1\.[0-9]+", newest) and int(newest[2:]) < int(API_VERSION[2:]):
            self._version = newest
        self._negotiated = True

    def _read_lines(self, response: Response) -> Iterator[bytes]:
        rest = b""
        while data := self._read(response):
            *lines, rest = (rest + data).split(b"\n")
            yield from (line for line in lines if line.strip())
        if rest.strip():
            yield rest

    def _read(self, response: Response) -> bytes:
        try:
            return response.read1()
        except (OSError, MalformedResponseError) as error:
            raise self._connection_lost(error) from error

    def _unreachable(self, error: OSError) -> UnreachableError:
        if isinstance(error, PermissionError):
            return UnreachableError(
                f"{self.host} cannot be opened by this user: use root or a member of the group covey"
            )
        if not self._address.path and (reason := _network_reason(error, has_tls=self._address.tls is not None)):
            return UnreachableError(f"cannot connect to the daemon at {self.host}: {reason}")
        return UnreachableError(f"cannot connect to the daemon at {self.host}: is coveyd running?")

    def _connection_lost(self, error: Exception) -> CoveyError:
        if isinstance(error, TimeoutError):
            return UnreachableError(f"the daemon at {self.host} did not answer within {self._timeout_seconds:.0f} s")
        if isinstance(error, OSError) and (reason := _tls_reason(error)):
            return UnreachableError(f"cannot talk to the daemon at {self.host}: {reason}")
        return UnreachableError(
            f"the daemon at {self.host} closed the connection ({type(error).__name__}); see the daemon's log"
        )


def _network_reason(error: OSError, *, has_tls: bool) -> str:
    """Why a connection over TCP was not made, or an empty string."""
    if isinstance(error, TimeoutError):
        return "the connection timed out"
    if has_tls and isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError):
        return "it closed the connection during the TLS handshake: does it use TLS at this port?"
    return _tls_reason(error) or (error.strerror or "" if not isinstance(error, ConnectionRefusedError) else "")


def _tls_reason(error: OSError) -> str:
    """What TLS says about a connection, or an empty string. Does not import ``ssl``, which most invocations never need."""
    words = getattr(error, "verify_message", "") or (getattr(error, "reason", "") or "").lower().replace("_", " ")
    if not words:
        return ""
    if "certificate required" in words or "bad certificate" in words or "unknown ca" in words:
        return f"TLS: {words}; give a certificate that the daemon's CA has signed with --tlscert and --tlskey"
    if getattr(error, "verify_message", ""):
        return f"TLS: the daemon's certificate is not trusted: {words}; give its CA with --tlscacert"
    return f"TLS: {words}; does the daemon use TLS at this port?"


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
    return f"?{'&'.join(f'{path_segment(name)}={path_segment(value)}' for name, value in pairs)}" if pairs else ""


def _raise_refusal(response: Response) -> None:
    if response.status >= 400:
        raise DaemonError(response.status, _error_message(response))


def _error_message(response: Response) -> str:
    text = response.read(CHUNK_BYTES).decode(errors="replace").strip()
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text or f"{response.status} {response.reason}"
