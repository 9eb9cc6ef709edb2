"""Fetch of an image's content by its manifest: config, layers in parallel, unpacked while they are downloaded.

Invariant: nothing is visible before the commit, which is one transaction. A fetch that ends early leaves only its staging
folder, which is deleted at once, or at the next start after a crash.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agent.image.content.descriptor import Descriptor
from agent.image.content.digests import chain_ids
from agent.image.content.repository import ImageRepository
from agent.image.content.staged import StagedContent, StagedImage, StagedLayer
from agent.image.job import Report
from agent.image.model import OciImageConfig, Progress, decode_config
from agent.image.registry.client import ContentClient
from agent.image.registry.errors import RegistryContentError, RegistryError
from agent.image.registry.layer_pool import LayerPool
from agent.image.registry.layer_protocol import LayerTask
from agent.image.registry.manifests import CONFIG_LIMIT_BYTES, LAYER_LIMIT_BYTES, Manifest
from agent.image.registry.shared_downloads import SharedDownloads
from covey.clock import MILLISECOND, Clock
from covey.errors import UnsupportedError, first_cause
from covey.task_group import TaskGroup

REPORT_INTERVAL_NS = 100 * MILLISECOND


class LayerToFetch(msgspec.Struct, frozen=True):
    """One layer of the image: what the manifest says of its blob, and what the config says of its content."""

    number: int
    blob: Descriptor
    diff_id: str
    chain_id: str

    @property
    def short_id(self) -> str:
        return self.blob.digest.removeprefix("sha256:")[:12]


class ImageFetch:
    """One fetch. `downloads` are those of the daemon."""

    def __init__(
        self,
        client: ContentClient,
        manifest: Manifest,
        repository: ImageRepository,
        *,
        downloads: SharedDownloads,
        report: Report,
        clock: Clock,
        layer_limit_bytes: int = LAYER_LIMIT_BYTES,
    ) -> None:
        self._client = client
        self._manifest = manifest
        self._repository = repository
        self._downloads = downloads
        self._report = report
        self._clock = clock
        self._layer_limit_bytes = layer_limit_bytes
        self._reported_ns: dict[tuple[str, str], int] = {}
        self._layers: tuple[LayerToFetch, ...] = ()

    async def run(self) -> str:
        """Fetch and commit the image, without a tag. Returns its id. Raises CoveyError."""
        config = await self._client.small_blob(self._manifest.config, CONFIG_LIMIT_BYTES)
        raw = decode_config(config, self._manifest.config.digest)
        self._layers = plan_layers(self._manifest, raw)
        try:
            async with self._repository.staging() as staging:
                try:
                    layers, blobs = await self._fetch_layers(staging)
                    await self._commit(config, layers, blobs, staging)
                finally:
                    self._downloads.release(staging / f"b{layer.number}" for layer in self._layers)
        except OSError as error:
            raise RegistryError(f"storing the image failed: {(error.strerror or str(error)).lower()}") from error
        return self._manifest.config.digest

    async def _commit(
        self, config: bytes, layers: tuple[StagedLayer, ...], blobs: dict[str, str], staging: Path
    ) -> None:
        for name, digest, data in (
            ("config", self._manifest.config.digest, config),
            ("manifest", self._manifest.digest, self._manifest.body),
        ):
            blobs[digest] = str(staging / name)
            await asyncio.to_thread((staging / name).write_bytes, data)
        image = StagedImage(self._manifest.config.digest, layers)
        await self._repository.commit(StagedContent((image,), blobs))

    async def _fetch_layers(self, staging: Path) -> tuple[tuple[StagedLayer, ...], dict[str, str]]:
        known = self._repository.layer_paths()
        existing = {layer.chain_id for layer in self._layers if layer.chain_id in known}
        missing = [layer for layer in self._layers if layer.chain_id not in existing]
        for layer in self._layers:
            self._report(
                Progress("Already exists" if layer.chain_id in existing else "Pulling fs layer", layer.short_id)
            )
        staged = {
            layer.chain_id: StagedLayer(self._known_blob(layer), layer.diff_id, layer.chain_id)
            for layer in self._layers
            if layer.chain_id in existing
        }
        blobs: dict[str, str] = {}
        if missing:
            staged |= await self._fetch_missing(missing, known, staging)
            blobs = {layer.blob.digest: str(staging / f"b{layer.number}") for layer in missing}
        return tuple(staged[layer.chain_id] for layer in self._layers), blobs

    async def _fetch_missing(
        self, missing: Sequence[LayerToFetch], known: dict[str, Path], staging: Path
    ) -> dict[str, StagedLayer]:
        """Download and unpack in parallel."""
        by_number = {layer.number: layer for layer in missing}

        def on_read(number: int, size: int) -> None:
            self._report_count("Extracting", by_number[number], size)

        def on_unpacked(number: int, content_bytes: int) -> None:
            layer = by_number[number]
            self._report(Progress("Pull complete", layer.short_id))
            target = str(directories[layer.chain_id])
            staged[layer.chain_id] = StagedLayer(
                layer.blob.digest, layer.diff_id, layer.chain_id, content_bytes, target
            )

        staged: dict[str, StagedLayer] = {}
        directories = {**known, **{layer.chain_id: staging / f"l{layer.number}" for layer in missing}}
        tasks = [self._layer_task(layer, directories, staging) for layer in missing]
        pool = LayerPool(tasks, staging, on_read, on_unpacked)
        try:
            async with TaskGroup() as group:
                group.create_task(pool.run())
                for layer in missing:
                    group.create_task(self._download(layer, staging / f"b{layer.number}", pool))
        except BaseExceptionGroup as group_error:
            raise _main_error(group_error) from None
        return staged

    def _layer_task(self, layer: LayerToFetch, directories: dict[str, Path], staging: Path) -> LayerTask:
        lowers = tuple(str(directories[lower.chain_id]) for lower in reversed(self._layers[: layer.number]))
        return LayerTask(
            layer.number, str(staging / f"b{layer.number}"), layer.blob.size, layer.diff_id,
            str(directories[layer.chain_id]), lowers, self._layer_limit_bytes,
            layer.blob.digest,
        )  # fmt: skip

    async def _download(self, layer: LayerToFetch, path: Path, pool: LayerPool) -> None:
        def on_written(size: int) -> None:
            pool.readable(layer.number, size)
            self._report_count("Downloading", layer, size)

        def on_retry(seconds: int) -> None:
            self._report(Progress(f"Retrying in {seconds} second{'s' if seconds > 1 else ''}", layer.short_id))

        if self._downloads.must_wait(layer.blob.digest):
            self._report(Progress("Waiting", layer.short_id))
        stored = self._repository.content.blob(layer.blob.digest)
        download = self._client.download(layer.blob, path, on_written, on_retry)

        async def run() -> None:
            await download.run(lambda: self._downloads.attempts)

        if await self._downloads.get(layer.blob.digest, path, stored, run):
            pool.readable(layer.number, layer.blob.size)
        self._report(Progress("Verifying Checksum", layer.short_id))
        self._report(Progress("Download complete", layer.short_id))

    def _report_count(self, status: str, layer: LayerToFetch, size: int) -> None:
        """Report a count, at most every 100 ms for a layer, and the last one."""
        now, key = self._clock(), (status, layer.short_id)
        if size < layer.blob.size and now - self._reported_ns.get(key, 0) < REPORT_INTERVAL_NS:
            return
        self._reported_ns[key] = now
        self._report(Progress(status, layer.short_id, size, layer.blob.size))

    def _known_blob(self, layer: LayerToFetch) -> str:
        """The blob of an unpacked layer: the manifest's, or the one that another image brought."""
        if self._repository.content.blob(layer.blob.digest).exists():
            return layer.blob.digest
        for row in self._repository.snapshot.images.values():
            for stored in row.layers:
                if stored.chain_id == layer.chain_id:
                    return stored.blob
        raise RegistryError(f"the layer {layer.chain_id} was removed while the image was pulled; pull it again")


def plan_layers(manifest: Manifest, config: OciImageConfig) -> tuple[LayerToFetch, ...]:
    """The layers of an image, bottom first. Raises if config and manifest disagree, or if the image is for another system."""
    if config.os not in {"linux", ""}:
        raise UnsupportedError(
            f'image operating system "{config.os[:40]}" cannot be used on this platform: operating system is not supported'
        )
    if len(config.diff_ids) != len(manifest.layers):
        raise RegistryContentError(
            f"the image config {manifest.config.digest} names {len(config.diff_ids)} layers, "
            f"but its manifest has {len(manifest.layers)}"
        )
    numbered = enumerate(zip(manifest.layers, config.diff_ids, chain_ids(config.diff_ids), strict=True))
    return tuple(LayerToFetch(number, blob, diff_id, chain_id) for number, (blob, diff_id, chain_id) in numbered)


def _main_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to report: the registry's rather than the one of the layer process that missed its input."""
    found, rest = group.split((RegistryError, OSError))
    return first_cause(found or rest or group)
