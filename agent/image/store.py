"""Image store: the entry point to the images of this host.

Reading (`get`, `list`, `layers`, `history`) is synchronous and from memory. Changes are awaited: the unpack process
does the heavy work, and one lock orders the commits.

Invariant: nothing is deleted from the disk while an archive is being unpacked or saved.
"""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from agent.image import archive_writer, unpack_process
from agent.image.archive_manifest import host_architecture
from agent.image.config_changes import apply_changes
from agent.image.content_store import ContentStore
from agent.image.image_index import build_index, imported_config
from agent.image.lookup import filter_images, resolve_image
from agent.image.metadata import ImageMetadata, MetadataSnapshot
from agent.image.model import HistoryEntry, Image, ImageConfig, ImageRemoval, UnpackProgress, encode_config
from agent.image.unpack_protocol import UnpackLimits, UnpackMessage, UnpackRequest
from covey import image_reference
from covey.clock import Clock, wall_clock
from covey.errors import ConflictError, InvalidArgumentError, UnavailableError, UnsupportedError

log = logging.getLogger(__name__)

Source = unpack_process.Source


def _no_containers(_image_id: str) -> Sequence[str]:
    return ()


def _ignore_progress(_progress: UnpackProgress) -> None:
    return


class ImageStore:
    """Images under `state_dir/images`. `containers_using` returns the ids of the containers that use an image."""

    def __init__(
        self,
        state_dir: Path,
        *,
        containers_using: Callable[[str], Sequence[str]] = _no_containers,
        limits: UnpackLimits | None = None,
        clock: Clock = wall_clock,
    ) -> None:
        self._content = ContentStore(Path(state_dir) / "images")
        self._in_use = containers_using
        self._limits = limits or UnpackLimits()
        self._clock = clock
        self._lock = asyncio.Lock()
        self._metadata: ImageMetadata | None = None
        self._snapshot = MetadataSnapshot()
        self._images: dict[str, Image] = {}
        self._sweep_pauses = 0

    async def start(self) -> None:
        """Open the store and delete leftovers of an earlier process. Raises OSError when the folder is not writable."""
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """Close the database. The caller cancels or awaits running operations first."""
        async with self._lock:
            if self._metadata is not None:
                await asyncio.to_thread(self._metadata.close)
                self._metadata = None

    def get(self, name: str) -> Image:
        """The image with a reference, an id or a unique id prefix. Raises NotFoundError, or ConflictError if ambiguous."""
        return resolve_image(name, self._images, self._snapshot.tags)

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> tuple[Image, ...]:
        """The images that match Docker's filters (dangling, label, before, since, until, reference), newest first."""
        images = sorted(self._images.values(), key=lambda image: (image.created, image.id), reverse=True)
        return filter_images(images, filters or {}, self.get, self._clock())

    def history(self, name: str) -> tuple[HistoryEntry, ...]:
        """The build steps of an image, oldest first."""
        return self.get(name).history

    def layers(self, name: str) -> tuple[Path, ...]:
        """The unpacked layers of an image, base layer first. They must not be written to."""
        row = self._snapshot.images[self.get(name).id]
        numbers = [self._snapshot.layers[layer.chain_id].directory for layer in row.layers]
        return tuple(self._content.layer(number) for number in numbers)

    def disk_bytes(self) -> int:
        """Total size of the unpacked layers, each counted once."""
        return sum(layer.content_bytes for layer in self._snapshot.layers.values())

    async def load(
        self, source: Source, progress: Callable[[UnpackProgress], None] = _ignore_progress
    ) -> tuple[str, ...]:
        """Load an archive of `docker save` or an OCI layout. Returns its tags, and the ids of images without a tag."""
        async with self._unpack("load", source, progress) as result:
            await self._commit(result)
        return tuple(dict.fromkeys(name for image in result.images for name in image.tags or (image.config,)))

    async def import_(
        self,
        source: Source,
        name: str = "",
        *,
        message: str = "",
        changes: Sequence[str] = (),
        architecture: str = "",
        progress: Callable[[UnpackProgress], None] = _ignore_progress,
    ) -> str:
        """Create an image from the tar of a root file system. Returns its id."""
        config = apply_changes(ImageConfig(), changes)
        tags = (image_reference.parse_tagged(name).familiar,) if name else ()
        async with self._unpack("import", source, progress) as result:
            (staged,) = result.images
            diff_ids = tuple(layer.diff_id for layer in staged.layers)
            raw = imported_config(diff_ids, message, architecture or host_architecture(), self._clock())
            async with self._lock:
                image_id = await asyncio.to_thread(self._content.put, encode_config(raw, config))
                image = msgspec.structs.replace(staged, config=image_id, tags=tags)
                await asyncio.to_thread(self._record, msgspec.structs.replace(result, images=(image,)))
        return image_id

    async def pull(self, name: str) -> str:
        """Not supported yet. Raises UnsupportedError that says what to do."""
        image_reference.parse(name)
        raise UnsupportedError(
            f"pulling {name} from a registry is not supported yet; use docker load or docker import on this node"
        )

    async def push(self, name: str) -> None:
        """Not supported yet. Raises UnsupportedError that says what to do."""
        self.get(name)
        raise UnsupportedError(f"pushing {name} to a registry is not supported yet; use docker save instead")

    def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        """The images as an archive that both `docker load` and OCI tools read. All names are resolved before the first byte."""
        exports: dict[str, archive_writer.ImageToSave] = {}
        for name in names:
            image = self.get(name)
            layers = tuple(layer.blob for layer in self._snapshot.images[image.id].layers)
            before = exports.get(image.id, archive_writer.ImageToSave(image.id, layers))
            tags = () if _names_an_id(name, image) else (image_reference.parse_tagged(name).familiar,)
            exports[image.id] = archive_writer.ImageToSave(
                image.id, layers, tuple(dict.fromkeys((*before.tags, *tags)))
            )
        return self._stream_without_sweep(archive_writer.write_archive(tuple(exports.values()), self._content.blob))

    async def tag(self, name: str, target: str) -> None:
        """Tag an image. A tag of another image moves. Raises InvalidArgumentError or NotFoundError."""
        tag = image_reference.parse_tagged(target).familiar
        async with self._lock:
            image = self.get(name)
            await asyncio.to_thread(self._open_metadata.tag, tag, image.id, self._clock())
            await asyncio.to_thread(self._reload)

    async def remove(self, name: str, *, force: bool = False) -> tuple[ImageRemoval, ...]:
        """Remove a tag, and with its last tag the image. Raises ConflictError while a container uses the image."""
        async with self._lock:
            image = self.get(name)
            if not _names_an_id(name, image) and len(image.repo_tags) > 1:
                tag = image_reference.parse_tagged(name).familiar
                await asyncio.to_thread(self._open_metadata.untag, [tag])
                await asyncio.to_thread(self._reload)
                return (ImageRemoval(untagged=tag),)
            if len(image.repo_tags) > 1 and not force:
                raise ConflictError(
                    f"conflict: unable to delete {_short(image.id)} (must be forced) - image is referenced in multiple "
                    f"repositories: {', '.join(image.repo_tags)}"
                )
            self._check_unused(image, name)
            return await self._remove_images([image])

    async def prune(
        self, *, unused: bool = False, filters: Mapping[str, Sequence[str]] | None = None
    ) -> tuple[tuple[ImageRemoval, ...], int]:
        """Remove untagged images, or with `unused` all without a container. Returns the effects and the freed bytes."""
        async with self._lock:
            unwanted = [
                image for image in self.list(filters) if (unused or not image.repo_tags) and not self._in_use(image.id)
            ]
            before = self.disk_bytes()
            removed = await self._remove_images(unwanted)
            return removed, before - self.disk_bytes()

    @property
    def _open_metadata(self) -> ImageMetadata:
        if self._metadata is None:
            raise UnavailableError("the image store is closed: the daemon is starting or stopping")
        return self._metadata

    def _open(self) -> None:
        self._content.prepare()
        self._metadata = ImageMetadata(self._content.root / "images.db")
        self._reload()
        self._sweep()

    def _reload(self) -> None:
        snapshot = self._open_metadata.read()
        known = {image_id: image for image_id, image in self._images.items() if image_id in snapshot.images}
        configs = self._content.read_configs(snapshot.images.keys() - known.keys(), log.warning)
        self._images = build_index(snapshot, known, configs)
        self._snapshot = snapshot

    def _sweep(self) -> None:
        rows = self._snapshot.images
        digests = {*rows, *(layer.blob for row in rows.values() for layer in row.layers)}
        self._content.sweep(digests, {layer.directory for layer in self._snapshot.layers.values()})

    @asynccontextmanager
    async def _unpack(
        self, mode: str, source: Source, progress: Callable[[UnpackProgress], None]
    ) -> AsyncIterator[UnpackMessage]:
        async with self._garbage_collection_paused():
            staging = await asyncio.to_thread(self._content.stage)
            try:
                layers = {
                    chain: str(self._content.layer(row.directory)) for chain, row in self._snapshot.layers.items()
                }
                yield await unpack_process.unpack(
                    UnpackRequest(mode, str(staging), layers, self._limits), source, progress
                )
            finally:
                await asyncio.shield(asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True))

    @asynccontextmanager
    async def _garbage_collection_paused(self) -> AsyncIterator[None]:
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

    async def _stream_without_sweep(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async with self._garbage_collection_paused():
            async for chunk in stream:
                yield chunk

    async def _commit(self, result: UnpackMessage) -> None:
        async with self._lock:
            await asyncio.to_thread(self._record, result)

    def _record(self, result: UnpackMessage) -> None:
        layers, images = self._content.commit(result, self._snapshot.layers, self._open_metadata.next_directory())
        self._open_metadata.add(layers, images, self._clock())
        self._reload()

    def _check_unused(self, image: Image, name: str) -> None:
        users = self._in_use(image.id)
        if users:
            raise ConflictError(
                f'conflict: unable to remove repository reference "{name}" - container {users[0][:12]} is using its image '
                f"{_short(image.id)}; remove the container first"
            )

    async def _remove_images(self, images: Sequence[Image]) -> tuple[ImageRemoval, ...]:
        if not images:
            return ()
        removed = [ImageRemoval(untagged=tag) for image in images for tag in image.repo_tags]
        removed += [ImageRemoval(deleted=image.id) for image in images]
        layers = await asyncio.to_thread(self._open_metadata.remove, [image.id for image in images])
        removed += [ImageRemoval(deleted=layer.chain_id) for layer in reversed(layers)]
        await asyncio.to_thread(self._reload)
        if not self._sweep_pauses:
            await asyncio.to_thread(self._sweep)
        return tuple(removed)


def _names_an_id(name: str, image: Image) -> bool:
    """True when the caller named the image by its id and not by one of its tags."""
    try:
        return image_reference.parse_tagged(name).familiar not in image.repo_tags
    except InvalidArgumentError:
        return True


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]
