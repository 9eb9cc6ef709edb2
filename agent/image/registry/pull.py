"""Pull of an image: from a reference to an image of this host with its tag and digest recorded.

Two pulls that arrive at the same manifest share one fetch of its content, whatever names they came by. Each asks the registry
for the manifest with its own credentials first, so nobody follows a fetch that the registry would refuse him.
"""

from collections.abc import AsyncIterator

from agent.image.content.metadata import ManifestRow
from agent.image.content.repository import ImageRepository
from agent.image.job import JobTable, Report
from agent.image.model import Image, Progress, PulledImage
from agent.image.registry.auth_config import Credentials
from agent.image.registry.client import RegistryClient, RepositoryClient
from agent.image.registry.errors import RegistryContentError, pull_error
from agent.image.registry.image_fetch import ImageFetch
from agent.image.registry.manifests import LAYER_LIMIT_BYTES, Manifest
from agent.image.registry.shared_downloads import SharedDownloads
from covey import image_platform
from covey.clock import Clock
from covey.errors import CoveyError, UnavailableError
from covey.image_platform import ImagePlatform
from covey.image_reference import Reference


class ImagePuller:
    """Pulls of one daemon."""

    def __init__(
        self,
        client: RegistryClient,
        repository: ImageRepository,
        fetches: JobTable,
        downloads: SharedDownloads,
        clock: Clock,
    ) -> None:
        self._client = client
        self._repository = repository
        self._fetches = fetches
        self._downloads = downloads
        self._clock = clock
        self.layer_limit_bytes = LAYER_LIMIT_BYTES

    async def pull(
        self, reference: Reference, platform: ImagePlatform | None, credentials: Credentials, report: Report
    ) -> PulledImage:
        """Pull one tag or digest. Raises CoveyError in the words that Docker clients know."""
        try:
            async with self._repository.sweep_paused():
                return await self._pull(reference, platform, credentials, report)
        except CoveyError as error:
            raise pull_error(error, reference) from error

    async def pull_all(
        self, reference: Reference, platform: ImagePlatform | None, credentials: Credentials, report: Report
    ) -> tuple[PulledImage, ...]:
        """Pull every tag of a repository."""
        try:
            client = await self._client.open(reference, credentials)
            tags = await client.tags()
        except CoveyError as error:
            raise pull_error(error, reference) from error
        pulled = [
            await self.pull(Reference(reference.domain, reference.path, tag), platform, credentials, report)
            for tag in tags
        ]
        return tuple(pulled)

    async def _pull(
        self, reference: Reference, platform: ImagePlatform | None, credentials: Credentials, report: Report
    ) -> PulledImage:
        client, manifest = await self._manifest(reference, credentials)
        report(Progress(f"Pulling from {reference.path}", reference.digest or reference.tag, heading=True))
        index = manifest
        if manifest.is_index:
            entry = image_platform.choose(manifest.manifests, platform or image_platform.host_platform())
            manifest = await client.manifest(entry.digest, reference.familiar)
            if manifest.is_index:
                raise RegistryContentError(f"the index of {reference.familiar} names another index for this platform")
        image_id = await self._fetched(client, manifest, report)
        is_new = await self._record(
            reference, index.digest, ManifestRow(manifest.digest, image_id, manifest.media_type)
        )
        if index is not manifest:
            await self._keep_index(reference, index, image_id)
        report(Progress(f"Digest: {index.digest}"))
        words = "Downloaded newer image for" if is_new else "Image is up to date for"
        report(Progress(f"Status: {words} {reference.familiar}"))
        warning = platform_warning(self._repository.images[image_id], reference, platform)
        if warning:
            report(Progress(warning))
        return PulledImage(image_id, index.digest, is_new)

    async def _manifest(self, reference: Reference, credentials: Credentials) -> tuple[RepositoryClient, Manifest]:
        """The manifest, from the first endpoint that has it. A mirror's error leads to the next endpoint."""
        failure: CoveyError | None = None
        candidates: AsyncIterator[RepositoryClient] = self._client.candidates(reference, credentials)
        async for client in candidates:
            try:
                return client, await client.manifest(reference.digest or reference.tag, reference.familiar)
            except CoveyError as error:
                failure = error
                if not client.connection.endpoint.is_mirror:
                    raise
        raise failure or UnavailableError(f"no registry answered for {reference.familiar}")

    async def _fetched(self, client: RepositoryClient, manifest: Manifest, report: Report) -> str:
        image_id = manifest.config.digest
        if image_id in self._repository.images and manifest.digest in self._repository.snapshot.manifests:
            return image_id

        async def fetch(report: Report) -> str:
            image_fetch = ImageFetch(
                client,
                manifest,
                self._repository,
                downloads=self._downloads,
                report=report,
                clock=self._clock,
                layer_limit_bytes=self.layer_limit_bytes,
            )
            return await image_fetch.run()

        with self._fetches.join(("fetch", manifest.digest), fetch) as follower:
            async for progress in follower:
                report(progress)
            return await follower.result()

    async def _keep_index(self, reference: Reference, index: Manifest, image_id: str) -> None:
        """Keep the index: it proves to other nodes that the image is the one with its digest."""
        row = ManifestRow(index.digest, image_id, index.media_type)
        if row.digest in self._repository.snapshot.manifests:
            return
        await self._repository.put_blob(index.body)
        async with self._repository.lock:
            if image_id in self._repository.images:
                await self._repository.add_repo_digest(f"{reference.familiar_name}@{index.digest}", row)

    async def _record(self, reference: Reference, digest: str, manifest: ManifestRow) -> bool:
        """Record tag and digest. Returns whether the reference names another image than before."""
        by_digest = f"{reference.familiar_name}@{digest}"
        async with self._repository.lock:
            if manifest.image_id not in self._repository.images:
                raise UnavailableError(f"{reference.familiar} was removed while it was pulled; pull it again")
            snapshot = self._repository.snapshot
            if by_digest not in snapshot.digests or manifest.digest not in snapshot.manifests:
                await self._repository.add_repo_digest(by_digest, manifest)
            if reference.digest:
                return snapshot.digests.get(by_digest) != manifest.image_id
            is_new = snapshot.tags.get(reference.familiar) != manifest.image_id
            if is_new:
                await self._repository.tag(reference.familiar, manifest.image_id)
            return is_new


def platform_warning(image: Image, reference: Reference, wanted: ImagePlatform | None) -> str:
    """What to tell a client that asked for another platform than the registry has. Empty if there is nothing to tell."""
    actual = ImagePlatform(image.architecture, image.os, image.variant)
    if wanted is None or image_platform.matches(wanted, actual):
        return ""
    return (
        f"WARNING: image with reference {reference.familiar} was found but does not match the specified platform: "
        f"wanted {image_platform.describe(wanted)}, actual: {image_platform.describe(actual)}"
    )
