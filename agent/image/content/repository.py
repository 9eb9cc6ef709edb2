"""Repository of the images of a host: the committed state in memory, and every change of it under one lock.

Archives, registries and commits stage files in a folder of their own (`staging`) and add them with `commit`.

Invariant: nothing is deleted from the disk while content is being staged or read.
Invariant: the state in memory is what the database holds.
"""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from agent.image.content.content_store import ContentStore
from agent.image.content.image_index import build_index
from agent.image.content.metadata import ImageMetadata, LayerRow, ManifestRow, MetadataSnapshot
from agent.image.content.staged import StagedContent
from agent.image.model import Image
from covey.clock import Clock
from covey.errors import UnavailableError

log = logging.getLogger(__name__)


class ImageRepository:
    """One per host. Reading is synchronous and from memory. Changes are awaited."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.content = ContentStore(root)
        self.images: Mapping[str, Image] = {}
        self.snapshot = MetadataSnapshot()
        self._clock = clock
        self._lock = asyncio.Lock()
        self._metadata: ImageMetadata | None = None
        self._sweep_pauses = 0
        self.version = 0
        """Grows with every change."""
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Open the database and delete leftovers of an earlier process. Raises OSError when the folder is not writable."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """Close the database. The caller cancels or awaits running operations first."""
        async with self._lock:
            if self._metadata is not None:
                await asyncio.to_thread(self._metadata.close)
                self._metadata = None

    @property
    def lock(self) -> asyncio.Lock:
        """Held by whoever decides on the state and then changes it."""
        return self._lock

    def layer_paths(self) -> dict[str, Path]:
        """The directory of every unpacked layer, by chain id."""
        return {chain: self.content.layer(row.directory) for chain, row in self.snapshot.layers.items()}

    async def wait_newer(self, version: int) -> None:
        """Wait until `version` is newer than this one."""
        while self.version == version:
            await self._changed.wait()

    def notify(self) -> None:
        """Wake all who wait for a change. Called on the loop."""
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def disk_bytes(self) -> int:
        """Total size of the unpacked layers, each counted once."""
        return sum(layer.content_bytes for layer in self.snapshot.layers.values())

    @asynccontextmanager
    async def staging(self) -> AsyncIterator[Path]:
        """An empty folder for one operation. It is deleted at the end, and no committed file is deleted before."""
        async with self.sweep_paused():
            folder = await asyncio.to_thread(self.content.stage)
            try:
                yield folder
            finally:
                await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))

    @asynccontextmanager
    async def sweep_paused(self) -> AsyncIterator[None]:
        """Delete no files meanwhile. The last user to leave deletes what became unused."""
        self._sweep_pauses += 1
        try:
            yield
        finally:
            self._sweep_pauses -= 1
            if not self._sweep_pauses and self._metadata is not None:
                async with self._lock:
                    if not self._sweep_pauses:
                        await asyncio.to_thread(self._sweep)

    async def commit(self, content: StagedContent) -> None:
        """Add staged images with their layers, blobs and tags. A tag of another image moves."""
        async with self._lock:
            await asyncio.to_thread(self._commit, content)

    async def put_blob(self, data: bytes) -> str:
        """Store a small blob, such as a config, before the commit that names it. Returns its digest."""
        return await asyncio.to_thread(self.content.put, data)

    async def read_blob(self, digest: str) -> bytes:
        """A small blob. Raises UnavailableError if it is missing or damaged."""
        data = await asyncio.to_thread(self.content.read_verified, digest)
        if data is None:
            raise UnavailableError(f"the blob {digest} is missing or damaged: load or pull its image again")
        return data

    async def tag(self, name: str, image_id: str) -> None:
        """Tag an image. The caller holds the lock."""
        await asyncio.to_thread(self._opened.tag, name, image_id, self._clock())
        await asyncio.to_thread(self._reload)

    async def add_repo_digest(self, name: str, manifest: ManifestRow) -> None:
        """Record that a registry has an image as NAME@DIGEST. The manifest's blob is stored. The caller holds the lock."""
        await asyncio.to_thread(self._opened.add_repo_digest, name, manifest)
        await asyncio.to_thread(self._reload)

    async def add_compressed_blob(self, blob: str, compressed: str, path: Path) -> None:
        """Keep the compressed form of a layer's blob, which lies staged at `path`."""
        async with self._lock:
            await asyncio.to_thread(path.replace, self.content.blob(compressed))
            await asyncio.to_thread(self._opened.add_compressed_blob, blob, compressed)
            await asyncio.to_thread(self._reload)

    async def untag(self, names: Sequence[str]) -> None:
        """Remove tags and digests. The caller holds the lock."""
        await asyncio.to_thread(self._opened.untag, names)
        await asyncio.to_thread(self._reload)

    async def hide(self, image_ids: Sequence[str]) -> None:
        """Remove images, but keep their layers for the containers that use them. The caller holds the lock."""
        if image_ids:
            await asyncio.to_thread(self._opened.hide, image_ids)
            await asyncio.to_thread(self._reload)

    async def remove(self, image_ids: Sequence[str]) -> tuple[LayerRow, ...]:
        """Remove images. Returns the layers that went with them. The caller holds the lock."""
        layers = await asyncio.to_thread(self._opened.remove, image_ids)
        await asyncio.to_thread(self._reload)
        if not self._sweep_pauses:
            await asyncio.to_thread(self._sweep)
        return layers

    @property
    def _opened(self) -> ImageMetadata:
        if self._metadata is None:
            raise UnavailableError("the image store is closed: the daemon is starting or stopping")
        return self._metadata

    def _open(self) -> None:
        self.content.prepare()
        self._metadata = ImageMetadata(self.content.root / "images.db")
        self._reload()
        self._sweep()

    def _reload(self) -> None:
        snapshot = self._opened.read()
        shown = snapshot.images.keys() - snapshot.removed
        known = {image_id: image for image_id, image in self.images.items() if image_id in shown}
        configs = self.content.read_configs(shown - known.keys(), log.warning)
        self.images = build_index(snapshot, known, configs)
        self.snapshot = snapshot
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.notify)

    def _sweep(self) -> None:
        rows = self.snapshot.images
        digests = {*rows, *(layer.blob for row in rows.values() for layer in row.layers)}
        digests |= {*self.snapshot.manifests, *self.snapshot.compressed.values()}
        self.content.sweep(digests, {layer.directory for layer in self.snapshot.layers.values()})

    def _commit(self, content: StagedContent) -> None:
        layers, images = self.content.commit(content, self.snapshot.layers, self._opened.next_directory())
        self._opened.add(layers, images, self._clock())
        self._reload()
