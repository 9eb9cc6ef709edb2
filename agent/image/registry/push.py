"""Push of an image: its layers in parallel, its config, then its manifest.

An image that was pulled or pushed before is pushed with the same manifest and blobs, so its digest stays. For another the
manifest is made; uncompressed layers are compressed first, in a process of their own, and the result is kept.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.image.content.descriptor import Descriptor
from agent.image.content.digests import digest_of
from agent.image.content.metadata import ManifestRow
from agent.image.content.repository import ImageRepository
from agent.image.content.streams import MAGIC_BYTES, compression_of
from agent.image.job import Report
from agent.image.model import Progress, PushedImage
from agent.image.registry.auth_config import Credentials
from agent.image.registry.blob_upload import BlobUpload
from agent.image.registry.client import REQUEST_SECONDS, RegistryClient, RepositoryClient
from agent.image.registry.errors import RegistryContentError, RegistryError
from agent.image.registry.manifests import (
    DOCKER_LAYER,
    OCI_LAYER_ZSTD,
    Manifest,
    decode_manifest,
    encode_manifest,
)
from agent.image.registry.transfer_slots import TransferSlots
from covey import image_reference
from covey.clock import MILLISECOND, Clock
from covey.errors import CoveyError, NotFoundError, first_cause
from covey.image_reference import Reference
from covey.task_group import TaskGroup

COMPRESS_SECONDS = 3_600
REPORT_INTERVAL_NS = 100 * MILLISECOND


class BlobMissingError(CoveyError):
    """Neither this host nor the registry has a blob of the manifest."""


class ImagePusher:
    """Pushes of one daemon. `slots` bounds the parallel uploads."""

    def __init__(self, client: RegistryClient, repository: ImageRepository, slots: TransferSlots, clock: Clock) -> None:
        self._client = client
        self._repository = repository
        self._slots = slots
        self._clock = clock

    async def push(
        self, references: Sequence[Reference], credentials: Credentials, report: Report
    ) -> tuple[PushedImage, ...]:
        """Push tags of one repository."""
        async with self._repository.sweep_paused():
            client = await self._client.open(references[0], credentials, "pull,push")
            return tuple([await _OnePush(self, client, reference, report).run() for reference in references])

    def references(self, reference: Reference, *, all_tags: bool) -> tuple[Reference, ...]:
        """The tags to push. Raises NotFoundError in Docker's words if there are none."""
        tags = self._repository.snapshot.tags
        named = [found for found in map(image_reference.parse, tags) if found.name == reference.name]
        if not named:
            raise NotFoundError(f"An image does not exist locally with the tag: {reference.familiar_name}")
        if all_tags:
            return tuple(named)
        if reference.familiar not in tags:
            raise NotFoundError(f"tag does not exist: {reference.familiar}")
        return (reference,)


class _OnePush:
    """The push of one tag."""

    def __init__(self, pusher: ImagePusher, client: RepositoryClient, reference: Reference, report: Report) -> None:
        self._repository = pusher._repository
        self._slots = pusher._slots
        self._clock = pusher._clock
        self._client = client
        self._reference = reference
        self._report = report
        self._reported_ns: dict[str, int] = {}

    async def run(self) -> PushedImage:
        image_id = self._repository.snapshot.tags[self._reference.familiar]
        short_ids = [diff_id.removeprefix("sha256:")[:12] for diff_id in self._repository.images[image_id].diff_ids]
        for short_id in dict.fromkeys(reversed(short_ids)):
            self._report(Progress("Preparing", short_id))
        manifest = await self._push_layers(image_id, short_ids)
        await self._push_config(manifest.config)
        await self._put_manifest(manifest)
        await self._record(image_id, manifest)
        tag, size = self._reference.tag, len(manifest.body)
        self._report(Progress(f"{tag}: digest: {manifest.digest} size: {size}"))
        self._report(Progress("", aux={"Tag": tag, "Digest": manifest.digest, "Size": size}))
        return PushedImage(image_id, tag, manifest.digest)

    async def _push_layers(self, image_id: str, short_ids: Sequence[str]) -> Manifest:
        """Push the layers of a manifest that is known, or else of a new one. Returns the manifest."""
        for manifest in await self._known_manifests(image_id):
            try:
                await self._push_all(manifest, short_ids)
            except BlobMissingError:
                continue
            return manifest
        manifest = await self._new_manifest(image_id)
        await self._push_all(manifest, short_ids)
        return manifest

    async def _known_manifests(self, image_id: str) -> list[Manifest]:
        """The manifests that registries have of the image, those first whose blobs are all on this host."""
        found = []
        for row in self._repository.snapshot.manifests.values():
            body = await asyncio.to_thread(self._repository.content.read_verified, row.digest)
            if row.image_id == image_id and body is not None:
                found.append(decode_manifest(body, row.media_type, row.digest, self._reference.familiar))
        found = [manifest for manifest in found if not manifest.is_index]
        return sorted(found, key=lambda manifest: any(not self._path(layer).exists() for layer in manifest.layers))

    async def _new_manifest(self, image_id: str) -> Manifest:
        stored_layers = self._repository.snapshot.images[image_id].layers
        layers: dict[str, Descriptor] = {}
        slots = asyncio.Semaphore(os.cpu_count() or 1)

        async def describe(blob: str) -> None:
            async with slots:
                layers[blob] = await self._layer(blob)

        try:
            async with TaskGroup() as group:
                for blob in {stored.blob: None for stored in stored_layers}:
                    group.create_task(describe(blob))
        except BaseExceptionGroup as group_error:
            raise first_cause(group_error) from None
        path = self._repository.content.blob(image_id)
        config = Descriptor(digest=image_id, size=path.stat().st_size)
        body = encode_manifest(config, [layers[stored.blob] for stored in stored_layers])
        return decode_manifest(body, "", digest_of(body), self._reference.familiar)

    async def _layer(self, blob: str) -> Descriptor:
        """The descriptor of a layer, compressed."""
        path = self._repository.content.blob(blob)
        with path.open("rb") as opened:
            compression = compression_of(opened.read(MAGIC_BYTES))
        if compression == "":
            blob = await self._compressed(blob, path)
            path = self._repository.content.blob(blob)
        media_type = OCI_LAYER_ZSTD if compression == "zstd" else DOCKER_LAYER
        return Descriptor(media_type, blob, path.stat().st_size)

    async def _compressed(self, blob: str, path: Path) -> str:
        known = self._repository.snapshot.compressed.get(blob)
        if known is not None and self._repository.content.blob(known).exists():
            return known
        async with self._repository.staging() as staging:
            digest = await compress(path, staging / "blob")
            await self._repository.add_compressed_blob(blob, digest, staging / "blob")
        return digest

    async def _push_all(self, manifest: Manifest, short_ids: Sequence[str]) -> None:
        layers = {layer.digest: (layer, short_id) for layer, short_id in zip(manifest.layers, short_ids, strict=True)}
        try:
            async with TaskGroup() as group:
                for layer, short_id in reversed(layers.values()):
                    group.create_task(self._push_layer(layer, short_id))
        except BaseExceptionGroup as group_error:
            raise first_cause(group_error) from None

    async def _push_layer(self, layer: Descriptor, short_id: str) -> None:
        if self._slots.locked():
            self._report(Progress("Waiting", short_id))
        async with self._slots:
            upload = BlobUpload(self._client, layer, lambda size: self._report_sent(layer, short_id, size))
            if await upload.exists():
                self._report(Progress("Layer already exists", short_id))
                return
            source = await upload.mount(self._mount_sources(layer.digest))
            if source:
                self._report(Progress(f"Mounted from {source}", short_id))
                return
            if not self._path(layer).exists():
                raise BlobMissingError(f"the layer {layer.digest} is not on this host")
            await upload.send(self._path(layer))
            self._report(Progress("Pushed", short_id))

    async def _push_config(self, config: Descriptor) -> None:
        upload = BlobUpload(self._client, config, lambda _size: None)
        if not await upload.exists():
            await upload.send(self._path(config))

    async def _put_manifest(self, manifest: Manifest) -> None:
        url = self._client.connection.url(f"manifests/{self._reference.tag}")
        headers = {"Content-Type": manifest.media_type}
        async with (
            asyncio.timeout(REQUEST_SECONDS),
            self._client.connection.request(
                "PUT", url, headers=headers, body=manifest.body, expect=(200, 201)
            ) as response,
        ):
            stored = response.headers.get("Docker-Content-Digest", manifest.digest)
        if stored != manifest.digest:
            raise RegistryContentError(
                f"the registry stored the manifest of {self._reference.familiar} as {stored[:80]}, not as {manifest.digest}"
            )

    async def _record(self, image_id: str, manifest: Manifest) -> None:
        name = f"{self._reference.familiar_name}@{manifest.digest}"
        snapshot = self._repository.snapshot
        if snapshot.digests.get(name) == image_id and manifest.digest in snapshot.manifests:
            return
        await self._repository.put_blob(manifest.body)
        async with self._repository.lock:
            if image_id in self._repository.images:
                await self._repository.add_repo_digest(
                    name, ManifestRow(manifest.digest, image_id, manifest.media_type)
                )

    def _mount_sources(self, blob: str) -> tuple[str, ...]:
        """Repositories of the same registry that have an image with this blob."""
        snapshot = self._repository.snapshot
        plain = {blob, *(before for before, after in snapshot.compressed.items() if after == blob)}
        images = {row.id for row in snapshot.images.values() if any(layer.blob in plain for layer in row.layers)}
        known = [image_reference.parse(name) for name, image_id in snapshot.digests.items() if image_id in images]
        paths = [found.path for found in known if found.domain == self._reference.domain]
        return tuple(dict.fromkeys(path for path in paths if path != self._reference.path))

    def _path(self, blob: Descriptor) -> Path:
        return self._repository.content.blob(blob.digest)

    def _report_sent(self, layer: Descriptor, short_id: str, size: int) -> None:
        now = self._clock()
        if size == layer.size or now - self._reported_ns.get(short_id, 0) >= REPORT_INTERVAL_NS:
            self._reported_ns[short_id] = now
            self._report(Progress("Pushing", short_id, size, layer.size))


async def compress(blob: Path, target: Path) -> str:
    """Compress a layer in a process of its own. Returns the digest of the result."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent.image.registry.compress_worker", str(blob), str(target),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    try:
        async with asyncio.timeout(COMPRESS_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        reason = err.decode(errors="replace").strip().rpartition("\n")[2]
        raise RegistryError(f"compressing a layer failed: {reason or process.returncode}")
    return out.decode().strip()
