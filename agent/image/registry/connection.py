"""Connection to one registry endpoint for one operation: authorized requests below `/v2/`.

The first request asks `/v2/` which authorization the endpoint wants, as the distribution API says. Requests then carry a
token for the connection's scopes, or a password.

Invariant: a request is repeated at most once to authorize it, so that no registry can keep a client busy with challenges.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from agent.image.registry.auth_config import ANONYMOUS, Credentials
from agent.image.registry.challenge import Challenge, choose, parse_challenges
from agent.image.registry.errors import RegistryError, status_error
from agent.image.registry.registries_config import Endpoint
from agent.image.registry.tokens import TokenSource
from agent.image.registry.transport import Request, Transport, read_error_body, redirect_target
from covey.clock import Clock


class Connection:
    """Requests to one repository (`path`) of an endpoint. Mirrors get no credentials."""

    def __init__(
        self, transport: Transport, endpoint: Endpoint, path: str, credentials: Credentials, clock: Clock
    ) -> None:
        self.endpoint = endpoint
        self.path = path
        self.credentials = ANONYMOUS if endpoint.is_mirror else credentials
        self.scopes: tuple[str, ...] = ()
        self._transport = transport
        self._tokens = TokenSource(transport, endpoint, self.credentials, clock)
        self._challenge: Challenge | None = None
        self._origin = URL(endpoint.url).origin()

    @property
    def wants_identity_token(self) -> bool:
        """Whether token servers are asked for an identity token, as a login does."""
        return self._tokens.offline

    @wants_identity_token.setter
    def wants_identity_token(self, value: bool) -> None:
        self._tokens.offline = value

    @property
    def identity_token(self) -> str:
        """The identity token that the token server gave for the password, if any."""
        return self._tokens.identity_token

    async def ping(self) -> None:
        """Ask the endpoint for its challenge. Raises RegistryConnectionError if it cannot be reached."""
        request = Request(method="GET", url=f"{self.endpoint.url}/v2/")
        async with self._transport.send(request, self.endpoint) as response:
            self._remember(response)

    def url(self, rest: str) -> str:
        """The URL of something of the repository, such as `blobs/sha256:…`."""
        return f"{self.endpoint.url}/v2/{self.path}/{rest}"

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | AsyncIterator[bytes] | None = None,
        expect: tuple[int, ...] = (200,),
        scopes: tuple[str, ...] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send an authorized request. A status that is not in `expect` raises RegistryStatusError in the registry's words."""
        renew = False
        while True:
            authorization = await self._authorization(method, url, scopes or self.scopes, renew=renew)
            request = Request(
                method=method, url=url, headers={**(headers or {}), **authorization}, body=body,
                follow_redirects=method in {"GET", "HEAD"},
            )  # fmt: skip
            async with self._transport.send(request, self.endpoint) as response:
                if response.status in expect:
                    yield response
                    return
                if response.status != 401 or renew or not isinstance(body, bytes | None):
                    raise status_error(response.status, response.reason or "", await read_error_body(response))
                self._remember(response)
                if self._challenge is None:
                    raise status_error(response.status, response.reason or "", await read_error_body(response))
                renew = True

    def location(self, response: aiohttp.ClientResponse) -> str:
        """The upload location of a response. Raises RegistryError if it is no HTTP URL, or not encrypted where the registry is."""
        return str(redirect_target(response.url, response.headers.get("Location", ""), self.endpoint))

    def _remember(self, response: aiohttp.ClientResponse) -> None:
        if response.status == 401:
            self._challenge = choose(parse_challenges(response.headers.getall("WWW-Authenticate", [])))

    async def _authorization(self, method: str, url: str, scopes: tuple[str, ...], *, renew: bool) -> dict[str, str]:
        if URL(url, encoded=True).origin() != self._origin:
            return {}  # an upload location elsewhere
        if self.credentials.registry_token:
            return {"Authorization": f"Bearer {self.credentials.registry_token}"}
        if self._challenge is None:
            return {}
        if self._challenge.scheme == "bearer":
            return {"Authorization": f"Bearer {await self._tokens.token(self._challenge, scopes, renew=renew)}"}
        if not self.credentials.username:
            raise RegistryError(f'{method.capitalize()} "{url}": no basic auth credentials')
        return {"Authorization": self.credentials.basic}
