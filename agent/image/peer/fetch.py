"""Fetch of an image from other nodes: the peers are tried in order, and the image gets the names that it was asked for by."""

from collections.abc import Sequence
from pathlib import Path

from agent.identity import IdentityStore
from agent.image.content.metadata import ManifestRow
from agent.image.content.repository import ImageRepository
from agent.image.job import JobTable, Report
from agent.image.peer.client import ImagePeer, PeerClient
from agent.image.registry.errors import RegistryContentError
from agent.image.registry.image_fetch import ImageFetch
from agent.image.registry.manifests import Manifest
from agent.image.registry.shared_downloads import SharedDownloads
from covey import image_reference
from covey.clock import Clock, wall_clock
from covey.errors import CoveyError, NotFoundError, UnavailableError
from covey.image_reference import Reference

CONCURRENT_DOWNLOADS = 3


class PeerFetcher:
    """Fetches of one membership. Callers that ask for the same image follow one fetch."""

    def __init__(
        self, repository: ImageRepository, identities: IdentityStore, run_dir: Path, *, clock: Clock = wall_clock
    ) -> None:
        self._repository = repository
        self._identities = identities
        self._run_dir = run_dir
        self._clock = clock
        self._jobs = JobTable("peer fetches")
        self._downloads = SharedDownloads(CONCURRENT_DOWNLOADS)

    async def open(self) -> None:
        """Accept work."""
        await self._jobs.open()

    async def close(self) -> None:
        """Cancel what runs."""
        await self._jobs.close()

    async def fetch(self, image_id: str, peers: Sequence[ImagePeer], names: Sequence[str], report: Report) -> None:
        """Make this host have the image under these names (NAME:TAG or NAME@DIGEST). Raises CoveyError of the last peer."""
        references = [image_reference.parse(name).with_default_tag() for name in names]
        digests = tuple([reference for reference in references if reference.digest])

        async def work(report: Report) -> str:
            return await self._from_first_peer(image_id, peers, digests, report)

        async with self._repository.sweep_paused():
            snapshot = self._repository.snapshot
            if image_id not in snapshot.images or any(
                snapshot.digests.get(_digest_name(reference)) != image_id for reference in digests
            ):
                with self._jobs.join(("fetch", image_id, digests), work) as follower:
                    async for progress in follower:
                        report(progress)
                    await follower.result()
            for reference in references:
                if not reference.digest:
                    await self._tag(image_id, reference)

    async def _from_first_peer(
        self, image_id: str, peers: Sequence[ImagePeer], digests: Sequence[Reference], report: Report
    ) -> str:
        failure: CoveyError = NotFoundError(f"no other node serves the image {image_id}")
        for peer in peers:
            client = PeerClient(peer, image_id, self._identities.require(), self._run_dir)
            try:
                async with client.opened():
                    return await self._from_peer(client, image_id, digests, report)
            except CoveyError as error:
                failure = UnavailableError(f"node {peer.node_id}: {error.message}")
        raise failure

    async def _from_peer(self, client: PeerClient, image_id: str, digests: Sequence[Reference], report: Report) -> str:
        manifest = await client.manifest("image", image_id)
        if manifest.is_index or manifest.config.digest != image_id:
            raise RegistryContentError(f"the node answered with another image than {image_id}")
        proofs = [(reference, await self._proof(client, manifest, reference)) for reference in digests]
        if image_id not in self._repository.images:
            fetch = ImageFetch(
                client, manifest, self._repository, downloads=self._downloads, report=report, clock=self._clock
            )
            await fetch.run()
        for reference, manifests in proofs:
            await self._record_digest(reference, image_id, manifests)
        return image_id

    async def _proof(self, client: PeerClient, manifest: Manifest, reference: Reference) -> tuple[Manifest, ...]:
        """The manifests that lead from a digest to the image. A node cannot pass another image off under a digest."""
        if reference.digest == manifest.digest:
            return (manifest,)
        index = await client.manifest(reference.digest, reference.familiar)
        if manifest.digest not in {entry.digest for entry in index.manifests}:
            raise RegistryContentError(f"{reference.familiar} is not the image {manifest.config.digest}")
        return (manifest, index)

    async def _record_digest(self, reference: Reference, image_id: str, manifests: Sequence[Manifest]) -> None:
        for manifest in manifests:
            await self._repository.put_blob(manifest.body)
            row = ManifestRow(manifest.digest, image_id, manifest.media_type)
            async with self._repository.lock:
                self._require_present(image_id)
                await self._repository.add_repo_digest(_digest_name(reference), row)

    async def _tag(self, image_id: str, reference: Reference) -> None:
        async with self._repository.lock:
            self._require_present(image_id)
            if self._repository.snapshot.tags.get(reference.familiar) != image_id:
                await self._repository.tag(reference.familiar, image_id)

    def _require_present(self, image_id: str) -> None:
        if image_id not in self._repository.images:
            raise UnavailableError(f"the image {image_id} was removed while it was fetched")


def _digest_name(reference: Reference) -> str:
    return f"{reference.familiar_name}@{reference.digest}"
