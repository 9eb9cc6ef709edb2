"""Credentials for a registry, as clients send them in `X-Registry-Auth` or in the body of a login. Pure."""

import base64
import binascii
import hashlib

import msgspec

from covey.errors import InvalidArgumentError

HEADER_LIMIT_BYTES = 64 << 10


class Credentials(msgspec.Struct, frozen=True):
    """A user with a password, an identity token (OAuth refresh token), or a registry token (bearer). Empty is anonymous."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    server_address: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.username!r})"

    @property
    def is_anonymous(self) -> bool:
        return not (self.username or self.identity_token or self.registry_token)

    @property
    def basic(self) -> str:
        """The value of a Basic `Authorization` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    @property
    def fingerprint(self) -> str:
        """A digest that tells equal credentials, without showing them."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


ANONYMOUS = Credentials()


class _AuthConfig(msgspec.Struct):
    username: str | None = None
    password: str | None = None
    auth: str | None = None
    identitytoken: str | None = None
    registrytoken: str | None = None
    serveraddress: str | None = None


def decode_header(value: str) -> Credentials:
    """The credentials of an `X-Registry-Auth` header: base64url of JSON. A malformed header is anonymous, as in Docker."""
    if len(value) > HEADER_LIMIT_BYTES:
        return ANONYMOUS
    try:
        data = base64.urlsafe_b64decode(value.replace("+", "-").replace("/", "_") + "=" * (-len(value) % 4))
        return _credentials(data)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        return ANONYMOUS


def decode_body(data: bytes) -> Credentials:
    """The credentials of a JSON body. Raises InvalidArgumentError."""
    try:
        return _credentials(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"invalid credentials: {error}") from None


def _credentials(data: bytes) -> Credentials:
    config = msgspec.json.decode(data, type=_AuthConfig)
    username, password = config.username or "", config.password or ""
    if config.auth and not username:
        username, password = _split_auth(config.auth)
    return Credentials(
        username, password, config.identitytoken or "", config.registrytoken or "", config.serveraddress or ""
    )


def _split_auth(auth: str) -> tuple[str, str]:
    """User and password of the `auth` field: base64 of USER:PASSWORD."""
    try:
        username, _, password = base64.b64decode(auth).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return username, password.rstrip("\0")
