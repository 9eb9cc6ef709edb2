"""Download of a file by its URL, for `docker import URL`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from yarl import URL

from agent.image.registry.errors import RegistryConnectionError, RegistryError
from agent.image.registry.registries_config import Endpoint
from agent.image.registry.transport import Request, Transport, read_error_body
from covey.errors import InvalidArgumentError, NotFoundError


class UrlDownload(msgspec.Struct, frozen=True):
    """A download that has begun: the URL with its scheme, the announced size (0: unknown), and the content."""

    url: str
    size: int
    chunks: AsyncIterator[bytes]


@asynccontextmanager
async def url_download(transport: Transport, source: str) -> AsyncIterator[UrlDownload]:
    """Open a URL; without a scheme it is an HTTP one. Raises CoveyError in the words that clients know from Docker."""
    url = source if "://" in source else f"http://{source}"
    try:
        parsed = URL(url)
    except ValueError:
        raise InvalidArgumentError(f"parse {url[:200]!r}: it is not a URL") from None
    if parsed.scheme not in {"http", "https"}:
        raise InvalidArgumentError(f'Get "{url[:200]}": unsupported protocol scheme "{parsed.scheme}"')
    if not parsed.host:
        raise RegistryError('Get "http:": http: no Host in request URL')
    endpoint = Endpoint(str(parsed.origin()), parsed.authority)
    async with transport.send(Request(method="GET", url=str(parsed)), endpoint) as response:
        if response.status != 200:
            body = (await read_error_body(response))[:300].decode(errors="replace")
            words = f"failed to GET {url} with status {response.status} {response.reason}: {body}"
            raise (NotFoundError if response.status == 404 else RegistryError)(words)
        yield UrlDownload(url, response.content_length or 0, _chunks(response))


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        raise RegistryConnectionError(f"the download from {response.url} broke: {error}") from error
