"""Login: whether a registry accepts a user's credentials, and the identity token that it gives for them."""

import asyncio
from urllib.parse import urlsplit

from agent.image.registry.auth_config import Credentials
from agent.image.registry.client import REQUEST_SECONDS, RegistryClient
from agent.image.registry.errors import RegistryError, RegistryStatusError
from covey.errors import InvalidArgumentError, UnauthenticatedError
from covey.image_reference import DEFAULT_DOMAIN, Reference

_HUB = frozenset({"", "docker.io", "index.docker.io", "registry-1.docker.io"})


async def login(client: RegistryClient, credentials: Credentials) -> str:
    """Log in to `server_address`. Returns the identity token, or "" if there is none.

    Raises:
        UnauthenticatedError: the registry refuses the credentials. The words are Docker's.
    """
    domain = _domain(credentials.server_address)
    repository = await client.open(Reference(domain, "login"), credentials, "push")
    connection = repository.connection
    connection.scopes = ()
    connection.wants_identity_token = True
    url = f"{connection.endpoint.url}/v2/"
    try:
        async with asyncio.timeout(REQUEST_SECONDS), connection.request("GET", url):
            return connection.identity_token
    except RegistryStatusError as error:
        if error.status in {401, 403}:
            reason = "401 Unauthorized" if error.status == 401 else "403 Forbidden"
            raise UnauthenticatedError(f"login attempt to {url} failed with status: {reason}") from error
        raise
    except RegistryError as error:
        if credentials.is_anonymous:
            raise UnauthenticatedError(f"login attempt to {url} failed with status: 401 Unauthorized") from error
        raise


def _domain(server_address: str) -> str:
    """The registry of an address such as `https://index.docker.io/v1/` or `registry.lan:5000`."""
    address = server_address.strip()
    host = urlsplit(address).netloc if "://" in address else address.partition("/")[0]
    if host in _HUB:
        return DEFAULT_DOMAIN
    if "@" in host or " " in host:
        raise InvalidArgumentError(f"invalid server address {server_address[:100]!r}: it must be HOST or HOST:PORT")
    return host
