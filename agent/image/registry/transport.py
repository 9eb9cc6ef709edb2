"""HTTP transport to registries: one session for the daemon, with deadlines, bounded bodies and limited redirects.

Invariant: `Authorization` is not sent to another host than the one that it was made for.
Invariant: HTTPS is never redirected to HTTP, except for registries that are configured as insecure.
"""

import asyncio
import os
import ssl
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from yarl import URL

from agent.image.registry import certificates
from agent.image.registry.errors import RegistryConnectionError, RegistryError
from agent.image.registry.registries_config import Endpoint, RegistriesConfig
from agent.image.registry.resolver import RegistryResolver

CONNECT_SECONDS = 30
STALL_SECONDS = 60
REDIRECT_LIMIT = 5
READ_BUFFER_BYTES = 1 << 20
USER_AGENT = "covey"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `body` is bytes, or a stream whose length the headers give."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes | AsyncIterator[bytes] | None = None
    follow_redirects: bool = True


class Transport:
    """One per daemon. Connections are kept and reused."""

    def __init__(self, config: RegistriesConfig) -> None:
        self._config = config
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[Endpoint, ssl.SSLContext] = {}

    def configure(self, config: RegistriesConfig) -> None:
        """Use the certificate folders of another configuration, and read them anew."""
        self._config = config
        self._contexts.clear()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def send(self, request: Request, endpoint: Endpoint) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and follow redirects. Raises RegistryConnectionError with the URL and the reason."""
        url, headers = URL(request.url, encoded=True), dict(request.headers)
        for _ in range(REDIRECT_LIMIT + 1):
            response = await self._send_once(request, url, headers, endpoint)
            try:
                if response.status not in _REDIRECTS or not request.follow_redirects:
                    try:
                        yield response
                    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                        raise connection_error(request.method, url, error) from error
                    return
                target = redirect_target(url, response.headers.get("Location", ""), endpoint)
            finally:
                response.close()
            if target.origin() != url.origin():
                headers.pop("Authorization", None)
            url = target
        raise RegistryError(f'{request.method.capitalize()} "{request.url}": stopped after {REDIRECT_LIMIT} redirects')

    async def _send_once(
        self, request: Request, url: URL, headers: Mapping[str, str], endpoint: Endpoint
    ) -> aiohttp.ClientResponse:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=STALL_SECONDS)
        if isinstance(request.body, bytes | None):
            headers = (
                {"Content-Length": str(len(request.body or b"")), **headers} if request.method != "GET" else headers
            )
        try:
            return await self._opened.request(
                request.method,
                url,
                headers=headers,
                data=request.body,
                allow_redirects=False,
                timeout=timeout,
                ssl=await self._context(url, endpoint),
                proxy=_proxy(url),
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise connection_error(request.method, url, error) from error

    @property
    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=64, limit_per_host=16, resolver=RegistryResolver()),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=READ_BUFFER_BYTES,
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            )
        return self._session

    async def _context(self, url: URL, endpoint: Endpoint) -> ssl.SSLContext | bool:
        if url.scheme != "https":
            return True
        host = _host(url)
        if host != endpoint.host:
            endpoint = Endpoint(str(url.origin()), host)  # a redirect or a token server: with its own certificates
        if endpoint not in self._contexts:
            self._contexts[endpoint] = await asyncio.to_thread(
                certificates.tls_context, endpoint, self._config.certs_dirs
            )
        return self._contexts[endpoint]


async def read_bounded(response: aiohttp.ClientResponse, limit_bytes: int, what: str) -> bytes:
    """The whole body. Raises RegistryError above the limit."""
    parts, size = [], 0
    async with asyncio.timeout(2 * STALL_SECONDS):
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > limit_bytes:
                raise RegistryError(f"{what} is larger than {limit_bytes} bytes")
            parts.append(chunk)
    return b"".join(parts)


async def read_error_body(response: aiohttp.ClientResponse) -> bytes:
    """The start of the body of an error response. A body that breaks off is an empty one."""
    try:
        async with asyncio.timeout(STALL_SECONDS):
            return await response.content.read(1 << 16)
    except (aiohttp.ClientError, TimeoutError, OSError):
        return b""


def connection_error(method: str, url: URL, error: BaseException) -> RegistryConnectionError:
    """A failure below HTTP, in the words that clients know from Docker."""
    return RegistryConnectionError(f'{method.capitalize()} "{url}": {_reason(url, error)}')


def _reason(url: URL, error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {url.host}: no such host"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"tls: failed to verify certificate: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientSSLError):
        return "http: server gave HTTP response to HTTPS client" if "WRONG_VERSION" in str(error) else f"tls: {error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"dial tcp {url.host}:{url.port}: connect: {os.strerror(error.errno).lower() if error.errno else error}"
    if isinstance(error, TimeoutError):
        return "request canceled: Client.Timeout exceeded while awaiting headers"
    return str(error) or type(error).__name__


def redirect_target(url: URL, location: str, endpoint: Endpoint) -> URL:
    """Where a `Location` leads to. Raises RegistryError if it is no HTTP URL, or leaves the encryption of a verified registry."""
    try:
        target = url.join(URL(location, encoded=True)).with_fragment(None)
    except ValueError:
        target = URL()
    if target.scheme not in {"http", "https"} or not target.host or target.user or not location:
        raise RegistryError(f"{endpoint.url} redirects to {location[:200]!r}, which is not an HTTP URL")
    if url.scheme == "https" and target.scheme == "http" and endpoint.verify:
        raise RegistryError(f"{endpoint.url} redirects from HTTPS to {str(target)[:200]}, which is not encrypted")
    return target


def _host(url: URL) -> str:
    host = url.host or ""
    host = f"[{host}]" if ":" in host else host
    return host if url.is_default_port() else f"{host}:{url.port}"


def _proxy(url: URL) -> str | None:
    """The proxy of the daemon's environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) for a URL."""
    host = url.host or ""
    if host == "localhost" or host.startswith("127.") or host == "::1" or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies_environment().get(url.scheme)
