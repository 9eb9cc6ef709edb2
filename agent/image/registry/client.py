"""Registry client: manifests, blobs and tags of one repository, by the OCI distribution API."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol
from urllib.parse import urljoin

import aiohttp
import msgspec

from agent.image.content.descriptor import Descriptor
from agent.image.content.digests import digest_of
from agent.image.registry.auth_config import Credentials
from agent.image.registry.connection import Connection
from agent.image.registry.errors import (
    RegistryConnectionError,
    RegistryContentError,
    RegistryError,
)
from agent.image.registry.manifests import ACCEPT, MANIFEST_LIMIT_BYTES, Manifest, decode_manifest
from agent.image.registry.registries_config import RegistriesConfig, endpoints
from agent.image.registry.transport import Transport, read_bounded
from covey.clock import Clock
from covey.image_reference import Reference, is_digest

REQUEST_SECONDS = 120
TAGS_LIMIT_BYTES = 8 << 20
TAG_PAGES_LIMIT = 1_000


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class ContentConnection(Protocol):
    """Requests for content: of a repository at a registry, or of an image at another node."""

    def url(self, rest: str) -> str: ...
    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, expect: tuple[int, ...] = (200,)
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]: ...


class ContentClient:
    """Manifests and blobs, verified."""

    def __init__(self, connection: ContentConnection) -> None:
        self._source = connection

    async def manifest(self, reference: str, name: str) -> Manifest:
        """The manifest with a tag or digest, verified. `name` is the image in messages."""
        url = self._source.url(f"manifests/{reference}")
        async with (
            asyncio.timeout(REQUEST_SECONDS),
            self._source.request("GET", url, headers={"Accept": ACCEPT}) as response,
        ):
            body = await read_bounded(response, MANIFEST_LIMIT_BYTES, f"the manifest of {name}")
            media_type = response.headers.get("Content-Type", "")
            announced = response.headers.get("Docker-Content-Digest", "")
        digest = await asyncio.to_thread(digest_of, body)
        expected = reference if is_digest(reference) else announced
        if is_digest(expected) and digest != expected:
            raise RegistryContentError(f"manifest verification failed for digest {expected}")
        return decode_manifest(body, media_type, digest, name)

    async def small_blob(self, descriptor: Descriptor, limit_bytes: int) -> bytes:
        """A small blob such as a config, verified."""
        url = self._source.url(f"blobs/{descriptor.digest}")
        async with asyncio.timeout(REQUEST_SECONDS), self._source.request("GET", url) as response:
            body = await read_bounded(response, min(limit_bytes, descriptor.size), f"the blob {descriptor.digest}")
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != descriptor.digest:
            raise RegistryContentError(f"the blob {descriptor.digest} does not match its digest")
        return body

    @asynccontextmanager
    async def open_blob(self, digest: str, offset: int) -> AsyncIterator[aiohttp.ClientResponse]:
        """A blob's content from an offset on, if the registry can (206), else from its start (200)."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        url = self._source.url(f"blobs/{digest}")
        async with self._source.request("GET", url, headers=headers, expect=(200, 206)) as response:
            yield response


class RepositoryClient(ContentClient):
    """One repository of a registry, at the endpoint that answered."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.connection = connection

    async def tags(self) -> tuple[str, ...]:
        """All tags of the repository."""
        found: list[str] = []
        url = self.connection.url("tags/list")
        for _ in range(TAG_PAGES_LIMIT):
            async with asyncio.timeout(REQUEST_SECONDS), self.connection.request("GET", url) as response:
                body = await read_bounded(response, TAGS_LIMIT_BYTES, f"the tag list of {self.connection.path}")
                link = response.links.get("next")
            try:
                found += msgspec.json.decode(body, type=_Tags).tags or []
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise RegistryContentError(f"the tag list of {self.connection.path} is malformed: {error}") from None
            if link is None:
                return tuple(found)
            url = urljoin(url, str(link.get("url", "")))
            if not url.startswith(f"{self.connection.endpoint.url}/"):
                raise RegistryError(f"the tag list of {self.connection.path} continues at another host")
        raise RegistryError(f"the tag list of {self.connection.path} has more than {TAG_PAGES_LIMIT} pages")


class RegistryClient:
    """Opens repositories. One per daemon."""

    def __init__(self, config: RegistriesConfig, clock: Clock) -> None:
        self.config = config
        self.transport = Transport(config)
        self._clock = clock

    def configure(self, config: RegistriesConfig) -> None:
        """Use another configuration from the next connection on. Certificates are read anew."""
        self.config = config
        self.transport.configure(config)

    async def close(self) -> None:
        await self.transport.close()

    async def open(
        self, reference: Reference, credentials: Credentials, actions: str = "pull", *, mirrors: bool = True
    ) -> RepositoryClient:
        """The repository at the first endpoint that can be reached. Raises the error of the last one."""
        async for repository in self.candidates(reference, credentials, actions):
            if mirrors or not repository.connection.endpoint.is_mirror:
                return repository
        raise RegistryError(f"there is no endpoint for {reference.domain}")

    async def candidates(
        self, reference: Reference, credentials: Credentials, actions: str = "pull"
    ) -> AsyncIterator[RepositoryClient]:
        """The repository at each endpoint that can be reached. Raises the last error if none can."""
        failure: RegistryConnectionError | None = None
        reached = False
        for endpoint in endpoints(reference.domain, self.config, pull=actions == "pull"):
            connection = Connection(self.transport, endpoint, reference.path, credentials, self._clock)
            connection.scopes = (f"repository:{reference.path}:{actions}",)
            try:
                async with asyncio.timeout(REQUEST_SECONDS):
                    await connection.ping()
            except RegistryConnectionError as error:
                failure = error
                continue
            except TimeoutError:
                failure = RegistryConnectionError(f'Get "{endpoint.url}/v2/": the registry did not answer in time')
                continue
            reached = True
            yield RepositoryClient(connection)
            if not endpoint.is_mirror:
                return
        if failure is not None and not reached:
            raise failure
