"""Bearer tokens from the token server that a registry names, cached per scope until they expire.

With a user and a password the token is asked for by GET with Basic auth, with an identity token by OAuth2 (POST), else
anonymously.

Invariant: over HTTP, credentials are sent to a token server only for registries that are configured as insecure.
"""

from urllib.parse import urlencode, urlsplit

import msgspec

from agent.image.registry.auth_config import Credentials
from agent.image.registry.challenge import Challenge
from agent.image.registry.errors import RegistryError, status_error
from agent.image.registry.registries_config import Endpoint
from agent.image.registry.transport import Request, Transport, read_bounded, read_error_body
from covey.clock import SECOND, Clock

TOKEN_LIMIT_BYTES = 64 << 10
DEFAULT_LIFETIME_SECONDS = 60
MARGIN_SECONDS = 10
CLIENT_ID = "covey"


class _TokenResponse(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    refresh_token: str = ""
    expires_in: int = DEFAULT_LIFETIME_SECONDS


class TokenSource:
    """The tokens of one connection to a registry."""

    def __init__(self, transport: Transport, endpoint: Endpoint, credentials: Credentials, clock: Clock) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._credentials = credentials
        self._clock = clock
        self._tokens: dict[str, tuple[str, int]] = {}
        self.identity_token = ""
        self.offline = False

    async def token(self, challenge: Challenge, scopes: tuple[str, ...], *, renew: bool = False) -> str:
        """A token for these scopes. With `renew` a cached one is not used. Raises RegistryError."""
        key = " ".join(scopes)
        cached, expires_ns = self._tokens.get(key, ("", 0))
        if cached and not renew and self._clock() < expires_ns:
            return cached
        answer = await self._fetch(challenge, scopes)
        token = answer.token or answer.access_token
        if not token or not token.isprintable():
            raise RegistryError(f"authorization server {challenge.realm} did not include a token in the response")
        lifetime = max(answer.expires_in, DEFAULT_LIFETIME_SECONDS) - MARGIN_SECONDS
        self._tokens[key] = (token, self._clock() + lifetime * SECOND)
        self.identity_token = answer.refresh_token or self.identity_token
        return token

    async def _fetch(self, challenge: Challenge, scopes: tuple[str, ...]) -> _TokenResponse:
        realm = urlsplit(challenge.realm)
        if realm.scheme not in {"http", "https"} or not realm.netloc or "@" in realm.netloc:
            raise RegistryError(
                f'{self._endpoint.url} names the token server "{challenge.realm[:200]}", which is not a URL'
            )
        if realm.scheme == "http" and self._endpoint.verify and not self._credentials.is_anonymous:
            raise RegistryError(
                f"{self._endpoint.url} names the token server {challenge.realm[:200]}, which is not encrypted; "
                "the credentials were not sent"
            )
        request = self._token_request(challenge, scopes)
        async with self._transport.send(request, self._endpoint) as response:
            if response.status != 200:
                body = await read_error_body(response)
                raise status_error(response.status, response.reason or "", body)
            body = await read_bounded(response, TOKEN_LIMIT_BYTES, f"the token of {challenge.realm}")
        try:
            return msgspec.json.decode(body, type=_TokenResponse)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RegistryError(f"the answer of the token server {challenge.realm} is malformed: {error}") from None

    def _token_request(self, challenge: Challenge, scopes: tuple[str, ...]) -> Request:
        fields = [("service", challenge.service)] if challenge.service else []
        credentials = self._credentials
        if credentials.identity_token:
            form = [*fields, ("grant_type", "refresh_token"), ("refresh_token", credentials.identity_token)]
            form += [("client_id", CLIENT_ID), ("scope", " ".join(scopes))]
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return Request(method="POST", url=challenge.realm, headers=headers, body=urlencode(form).encode())
        fields += [("scope", scope) for scope in scopes]
        headers = {}
        if credentials.username:
            fields += [("account", credentials.username), ("client_id", CLIENT_ID)]
            fields += [("offline_token", "true")] if self.offline else []
            headers["Authorization"] = credentials.basic
        separator = "&" if urlsplit(challenge.realm).query else "?"
        url = f"{challenge.realm}{separator}{urlencode(fields)}" if fields else challenge.realm
        return Request(method="GET", url=url, headers=headers)
