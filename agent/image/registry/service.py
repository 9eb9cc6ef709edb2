"""Registry service: the entry point to registries for the Engine API and the worker.

Pulls and pushes are jobs: callers that ask for the same with the same credentials follow one run.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager

from agent.image.content.repository import ImageRepository
from agent.image.job import JobFollower, JobTable, Report
from agent.image.model import Progress, PulledImage, PushedImage, RemoteImage, SearchResult
from agent.image.registry.auth_config import ANONYMOUS, Credentials
from agent.image.registry.client import RegistryClient
from agent.image.registry.hub_search import parse_query, search
from agent.image.registry.inspection import inspect_image
from agent.image.registry.login import login
from agent.image.registry.pull import ImagePuller
from agent.image.registry.push import ImagePusher
from agent.image.registry.registries_config import RegistriesConfig, describe_config
from agent.image.registry.shared_downloads import SharedDownloads
from agent.image.registry.transfer_slots import TransferSlots
from agent.image.registry.url_download import UrlDownload, url_download
from covey import image_platform, image_reference
from covey.clock import Clock, wall_clock


class RegistryService:
    """One per daemon. Open it before use; `close` cancels what runs."""

    def __init__(
        self, repository: ImageRepository, config: RegistriesConfig | None = None, *, clock: Clock = wall_clock
    ) -> None:
        config = config or RegistriesConfig()
        self._client = RegistryClient(config, clock)
        self._jobs = JobTable("registries")
        self._fetches = JobTable("image fetches")
        self._downloads = SharedDownloads(config.max_concurrent_downloads, config.max_download_attempts)
        self._uploads = TransferSlots(config.max_concurrent_uploads)
        self._pusher = ImagePusher(self._client, repository, self._uploads, clock)
        self._puller = ImagePuller(self._client, repository, self._fetches, self._downloads, clock)

    def configure(self, config: RegistriesConfig) -> None:
        """Use another configuration from the next request on. The limits of transfers apply to those that wait too."""
        self._client.configure(config)
        self._downloads.configure(config.max_concurrent_downloads, config.max_download_attempts)
        self._uploads.set_limit(config.max_concurrent_uploads)

    @property
    def layer_limit_bytes(self) -> int:
        """The largest size of a layer, unpacked."""
        return self._puller.layer_limit_bytes

    @layer_limit_bytes.setter
    def layer_limit_bytes(self, value: int) -> None:
        self._puller.layer_limit_bytes = value

    @property
    def config(self) -> RegistriesConfig:
        """The configuration in use."""
        return self._client.config

    def describe(self) -> Mapping[str, object]:
        """The configuration as `docker info` shows it."""
        return describe_config(self.config)

    async def open(self) -> None:
        """Accept work."""
        await self._fetches.open()
        await self._jobs.open()

    async def close(self) -> None:
        """Cancel what runs, and close all connections."""
        await self._jobs.close()
        await self._fetches.close()
        await self._client.close()

    def pull(
        self, name: str, *, platform: str = "", credentials: Credentials = ANONYMOUS
    ) -> AbstractContextManager[JobFollower[tuple[PulledImage, ...]]]:
        """Pull a tag (`latest` by default) or a digest, and follow it. Raises InvalidArgumentError for a malformed name."""
        reference = image_reference.parse(name)
        if reference.digest:
            reference = image_reference.Reference(reference.domain, reference.path, "", reference.digest)
        reference = reference.with_default_tag()
        wanted = image_platform.parse_platform(platform)

        async def work(report: Report) -> tuple[PulledImage, ...]:
            return (await self._puller.pull(reference, wanted, credentials, report),)

        return self._jobs.join(("pull", reference, platform, credentials.fingerprint), work)

    def pull_all_tags(
        self, name: str, *, platform: str = "", credentials: Credentials = ANONYMOUS
    ) -> AbstractContextManager[JobFollower[tuple[PulledImage, ...]]]:
        """Pull every tag of a repository."""
        reference = image_reference.parse(name)
        wanted = image_platform.parse_platform(platform)

        async def work(report: Report) -> tuple[PulledImage, ...]:
            return await self._puller.pull_all(reference, wanted, credentials, report)

        return self._jobs.join(("pull all", reference, platform, credentials.fingerprint), work)

    def push(
        self, name: str, *, all_tags: bool = False, credentials: Credentials = ANONYMOUS
    ) -> AbstractContextManager[JobFollower[tuple[PushedImage, ...]]]:
        """Push a tag (`latest` by default), or every tag of the repository. Raises InvalidArgumentError."""
        reference = image_reference.parse_tagged(name)

        async def work(report: Report) -> tuple[PushedImage, ...]:
            report(Progress(f"The push refers to repository [{reference.name}]"))
            references = self._pusher.references(reference, all_tags=all_tags)
            return await self._pusher.push(references, credentials, report)

        return self._jobs.join(("push", reference, all_tags, credentials.fingerprint), work)

    def download(self, url: str) -> AbstractAsyncContextManager[UrlDownload]:
        """Download a file by its URL, for an import."""
        return url_download(self._client.transport, url)

    async def login(self, credentials: Credentials) -> str:
        """Check credentials with their registry. Returns the identity token it gives, if any."""
        return await login(self._client, credentials)

    async def inspect(self, name: str, credentials: Credentials = ANONYMOUS) -> RemoteImage:
        """What a registry has under a name. Raises CoveyError in the registry's words."""
        return await inspect_image(self._client, image_reference.parse(name).with_default_tag(), credentials)

    async def search(
        self, term: str, limit: int | None, filters: Mapping[str, Sequence[str]], credentials: Credentials = ANONYMOUS
    ) -> tuple[SearchResult, ...]:
        """Search for images."""
        return await search(self._client, parse_query(term, limit, filters), credentials)
