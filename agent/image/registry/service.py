"""Registry service: the entry point to registries for the Engine API and the worker.

Pulls and pushes are jobs: callers that ask for the same with the same credentials follow one run.
"""

import asyncio
from contextlib import AbstractContextManager

from agent.image.content.repository import ImageRepository
from agent.image.job import JobFollower, JobTable, Report
from agent.image.model import PulledImage
from agent.image.registry import platforms
from agent.image.registry.auth_config import ANONYMOUS, Credentials
from agent.image.registry.client import RegistryClient
from agent.image.registry.pull import ImagePuller
from agent.image.registry.registries_config import RegistriesConfig
from covey import image_reference
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
        downloads = asyncio.Semaphore(config.max_concurrent_downloads)
        self._puller = ImagePuller(self._client, repository, self._fetches, downloads, clock)

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
        wanted = platforms.parse_platform(platform)

        async def work(report: Report) -> tuple[PulledImage, ...]:
            return (await self._puller.pull(reference, wanted, credentials, report),)

        return self._jobs.join(("pull", reference, platform, credentials.fingerprint), work)

    def pull_all_tags(
        self, name: str, *, platform: str = "", credentials: Credentials = ANONYMOUS
    ) -> AbstractContextManager[JobFollower[tuple[PulledImage, ...]]]:
        """Pull every tag of a repository."""
        reference = image_reference.parse(name)
        wanted = platforms.parse_platform(platform)

        async def work(report: Report) -> tuple[PulledImage, ...]:
            return await self._puller.pull_all(reference, wanted, credentials, report)

        return self._jobs.join(("pull all", reference, platform, credentials.fingerprint), work)
