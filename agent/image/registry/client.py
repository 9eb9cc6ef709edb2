"""Registry client: manifests, blobs and tags of one repository, by the OCI distribution API."""

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import msgspec

from agent.image.content.descriptor import Descriptor
from agent.image.content.digests import digest_of
from agent.image.registry.auth_config import Credentials
from agent.image.registry.blob_download import BlobDownload, RegistryBlobDownload
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


class Answer(msgspec.Struct, frozen=True):
    """A small response. The names of `headers` are in lower case."""

    body: bytes
    headers: Mapping[str, str]


class ContentClient(ABC):
    """Manifests and blobs, verified: of a repository at a registry, or of an image at another node."""

    @abstractmethod
    async def get(self, rest: str, limit_bytes: int, what: str, headers: Mapping[str, str]) -> Answer:
        """GET of something such as `manifests/TAG`. RegistryError if the body is longer than the limit."""

    @abstractmethod
    def download(
        self, blob: Descriptor, path: Path, on_written: Callable[[int], None], on_retry: Callable[[int], None]
    ) -> BlobDownload:
        """The download of a blob to a file, to be run."""

    async def manifest(self, reference: str, name: str) -> Manifest:
        """The manifest with a tag or digest, verified. `name` is the image in messages."""
        answer = await self._get_in_time(
            f"manifests/{reference}", MANIFEST_LIMIT_BYTES, f"the manifest of {name}", {"Accept": ACCEPT}
        )
        digest = await asyncio.to_thread(digest_of, answer.body)
        expected = reference if is_digest(reference) else answer.headers.get("docker-content-digest", "")
        if is_digest(expected) and digest != expected:
            raise RegistryContentError(f"manifest verification failed for digest {expected}")
        return decode_manifest(answer.body, answer.headers.get("content-type", ""), digest, name)

    async def small_blob(self, descriptor: Descriptor, limit_bytes: int) -> bytes:
        """A small blob such as a config, verified."""
        what = f"the blob {descriptor.digest}"
        answer = await self._get_in_time(f"blobs/{descriptor.digest}", min(limit_bytes, descriptor.size), what, {})
        if f"sha256:{hashlib.sha256(answer.body).hexdigest()}" != descriptor.digest:
            raise RegistryContentError(f"{what} does not match its digest")
        return answer.body

    async def _get_in_time(self, rest: str, limit_bytes: int, what: str, headers: Mapping[str, str]) -> Answer:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await self.get(rest, limit_bytes, what, headers)
        except TimeoutError:
            raise RegistryConnectionError(f"{what} did not arrive within {REQUEST_SECONDS} s") from None


class RepositoryClient(ContentClient):
    """One repository of a registry, at the endpoint that answered."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def get(self, rest: str, limit_bytes: int, what: str, headers: Mapping[str, str]) -> Answer:
        async with self.connection.request("GET", self.connection.url(rest), headers=headers) as response:
            body = await read_bounded(response, limit_bytes, what)
            return Answer(body, {name.lower(): value for name, value in response.headers.items()})

    def download(
        self, blob: Descriptor, path: Path, on_written: Callable[[int], None], on_retry: Callable[[int], None]
    ) -> RegistryBlobDownload:
        return RegistryBlobDownload(self._open_blob, blob, path, on_written, on_retry)

    @asynccontextmanager
    async def _open_blob(self, digest: str, offset: int) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        url = self.connection.url(f"blobs/{digest}")
        async with self.connection.request("GET", url, headers=headers, expect=(200, 206)) as response:
            yield response

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
