"""Image store: the entry point to the images of this host.

Reading (`get`, `list`, `rootfs_layers`, `history`) is synchronous and from memory. Changes are awaited: the unpack process
does the heavy work, and one lock orders the commits.

Invariant: nothing is deleted from the disk while an archive is being unpacked or saved.
"""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from agent.image import archive_writer, unpack_process
from agent.image.archive_manifest import host_architecture
from agent.image.config_changes import apply_changes
from agent.image.content_store import ContentStore
from agent.image.lookup import filter_images, resolve_image
from agent.image.metadata import ImageMetadata, MetadataSnapshot
from agent.image.model import (
    HistoryEntry,
    Image,
    ImageConfig,
    ImageRemoval,
    OciImageConfig,
    OciRootfs,
    UnpackProgress,
    build_image,
    decode_config,
    encode_config,
)
from agent.image.unpack_protocol import UnpackLimits, UnpackMessage, UnpackRequest
from covey import image_reference
from covey.clock import SECOND, Clock, wall_clock
from covey.errors import ConflictError, InvalidArgumentError, UnsupportedError

log = logging.getLogger(__name__)

Source = unpack_process.Source


def _nobody(_image_id: str) -> Sequence[str]:
    return ()


def _silent(_progress: UnpackProgress) -> None:
    return


class ImageStore:
    """Images under ``state_dir/images``. ``in_use`` gives the ids of the containers that stand on an image."""

    def __init__(
        self,
        state_dir: Path,
        *,
        containers_using: Callable[[str], Sequence[str]] = _nobody,
        limits: UnpackLimits | None = None,
        clock: Clock = wall_clock,
    ) -> None:
        self._content = ContentStore(Path(state_dir) / "images")
        self._in_use = containers_using
        self._limits = limits or UnpackLimits()
        self._clock = clock
        self._lock = asyncio.Lock()
        self._catalogue: ImageMetadata | None = None
        self._contents = MetadataSnapshot()
        self._images: dict[str, Image] = {}
        self._unpacking = 0

    async def start(self) -> None:
        """Open the store and sweep what an earlier life left over. Raises OSError where the folder cannot be written."""
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """Let the database go. Operations under way must have been cancelled or awaited."""
        async with self._lock:
            if self._catalogue is not None:
                await asyncio.to_thread(self._catalogue.close)
                self._catalogue = None

    def get(self, name: str) -> Image:
        """The image of a reference, an id or an id's unique prefix. Raises NotFoundError or ConflictError (ambiguous)."""
        return resolve_image(name, self._images, self._contents.tags)

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> tuple[Image, ...]:
        """The images that pass Docker's filters (dangling, label, before, since, until, reference), newest first."""
        images = sorted(self._images.values(), key=lambda image: (image.created, image.id), reverse=True)
        return filter_images(images, filters or {}, self.get, self._clock())

    def history(self, name: str) -> tuple[HistoryEntry, ...]:
        """How the image was made, oldest step first."""
        return self.get(name).history

    def rootfs_layers(self, name: str) -> tuple[Path, ...]:
        """The unpacked layers of an image, topmost first, as overlayfs wants its lowerdirs. They are never to be written to."""
        row = self._contents.images[self.get(name).id]
        numbers = [self._contents.layers[layer.chain_id].directory for layer in row.layers]
        return tuple(self._content.layer(number) for number in reversed(numbers))

    def layers(self, image_id: str) -> tuple[Path, ...]:
        """The same, base first: what ``agent.container`` asks for."""
        return self.rootfs_layers(image_id)[::-1]

    def disk_bytes(self) -> int:
        """What the unpacked layers hold, each counted once."""
        return sum(layer.content_bytes for layer in self._contents.layers.values())

    async def load(self, source: Source, progress: Callable[[UnpackProgress], None] = _silent) -> tuple[str, ...]:
        """Take in an archive of ``docker save`` or an OCI layout: its tags, and the ids of images without one."""
        async with self._unpack("load", source, progress) as answer:
            await self._commit(answer)
        return tuple(dict.fromkeys(name for image in answer.images for name in image.tags or (image.config,)))

    async def import_(
        self,
        source: Source,
        name: str = "",
        *,
        message: str = "",
        changes: Sequence[str] = (),
        architecture: str = "",
        progress: Callable[[UnpackProgress], None] = _silent,
    ) -> str:
        """Make an image of a root file system's tar; its id. The time of making is in the config, so ids differ each time."""
        config = apply_changes(ImageConfig(), changes)
        tags = (image_reference.parse_tagged(name).familiar,) if name else ()
        async with self._unpack("import", source, progress) as answer:
            (staged,) = answer.images
            raw = self._imported(tuple(layer.diff_id for layer in staged.layers), message, architecture)
            async with self._lock:
                image_id = await asyncio.to_thread(self._content.put, encode_config(raw, config))
                image = msgspec.structs.replace(staged, config=image_id, tags=tags)
                await asyncio.to_thread(self._record, msgspec.structs.replace(answer, images=(image,)))
        return image_id

    async def pull(self, name: str) -> str:
        """Not in this release. Raises UnsupportedError that says what to do."""
        image_reference.parse(name)
        raise UnsupportedError(
            f"pulling {name} from a registry is not there yet; bring the image with docker load or docker import on this node"
        )

    async def push(self, name: str) -> None:
        """Not in this release. Raises UnsupportedError that says what to do."""
        self.get(name)
        raise UnsupportedError(
            f"pushing {name} to a registry is not there yet; write it to a file with docker save instead"
        )

    def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        """An archive of the images that both ``docker load`` and OCI tools read. Every name is looked up before the first byte."""
        exports: dict[str, archive_writer.ImageToSave] = {}
        for name in names:
            image = self.get(name)
            layers = tuple(layer.blob for layer in self._contents.images[image.id].layers)
            before = exports.get(image.id, archive_writer.ImageToSave(image.id, layers))
            tags = () if _names_an_id(name, image) else (image_reference.parse_tagged(name).familiar,)
            exports[image.id] = archive_writer.ImageToSave(
                image.id, layers, tuple(dict.fromkeys((*before.tags, *tags)))
            )
        return self._hold(archive_writer.write_archive(tuple(exports.values()), self._content.blob))

    async def tag(self, name: str, target: str) -> None:
        """Give the image another name; a name in use moves. Raises InvalidArgumentError and NotFoundError."""
        wanted = image_reference.parse_tagged(target).familiar
        async with self._lock:
            image = self.get(name)
            await asyncio.to_thread(self._open_catalogue.tag, wanted, image.id, self._clock())
            await asyncio.to_thread(self._reload)

    async def remove(self, name: str, *, force: bool = False) -> tuple[ImageRemoval, ...]:
        """Take a name off an image, and with its last name the image. Raises ConflictError while a container stands on it."""
        async with self._lock:
            image = self.get(name)
            if not _names_an_id(name, image) and len(image.repo_tags) > 1:
                tag = image_reference.parse_tagged(name).familiar
                await asyncio.to_thread(self._open_catalogue.untag, [tag])
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
        """Remove untagged images, or with ``unused`` all that no container stands on; what was done and the bytes won."""
        async with self._lock:
            doomed = [
                image for image in self.list(filters) if (unused or not image.repo_tags) and not self._in_use(image.id)
            ]
            before = self.disk_bytes()
            removed = await self._remove_images(doomed)
            return removed, before - self.disk_bytes()

    @property
    def _open_catalogue(self) -> ImageMetadata:
        if self._catalogue is None:
            raise UnsupportedError("the image store is closed; start it first")
        return self._catalogue

    def _open(self) -> None:
        self._content.prepare()
        self._catalogue = ImageMetadata(self._content.root / "images.db")
        self._reload()
        self._sweep()

    def _reload(self) -> None:
        contents = self._open_catalogue.read()
        known = {image_id: image for image_id, image in self._images.items() if image_id in contents.images}
        configs = self._content.read_configs(contents.images.keys() - known.keys(), log.warning)
        self._images = _images_of(contents, known, configs)
        self._contents = contents

    def _sweep(self) -> None:
        rows = self._contents.images
        digests = {*rows, *(layer.blob for row in rows.values() for layer in row.layers)}
        self._content.sweep(digests, {layer.directory for layer in self._contents.layers.values()})

    @asynccontextmanager
    async def _unpack(
        self, mode: str, source: Source, progress: Callable[[UnpackProgress], None]
    ) -> AsyncIterator[UnpackMessage]:
        async with self._holding():
            staging = await asyncio.to_thread(self._content.stage)
            try:
                layers = {
                    chain: str(self._content.layer(row.directory)) for chain, row in self._contents.layers.items()
                }
                yield await unpack_process.unpack(
                    UnpackRequest(mode, str(staging), layers, self._limits), source, progress
                )
            finally:
                await asyncio.shield(asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True))

    @asynccontextmanager
    async def _holding(self) -> AsyncIterator[None]:
        """While anyone holds, layers and blobs are forgotten but not deleted; the last to let go sweeps."""
        self._unpacking += 1
        try:
            yield
        finally:
            self._unpacking -= 1
            if not self._unpacking and self._catalogue is not None:
                async with self._lock:
                    if not self._unpacking:
                        await asyncio.to_thread(self._sweep)

    async def _hold(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async with self._holding():
            async for chunk in stream:
                yield chunk

    async def _commit(self, answer: UnpackMessage) -> None:
        async with self._lock:
            await asyncio.to_thread(self._record, answer)

    def _record(self, answer: UnpackMessage) -> None:
        layers, images = self._content.commit(answer, self._contents.layers, self._open_catalogue.next_directory())
        self._open_catalogue.add(layers, images, self._clock())
        self._reload()

    def _imported(self, diff_ids: tuple[str, ...], message: str, architecture: str) -> OciImageConfig:
        created = datetime.fromtimestamp(self._clock() / SECOND, UTC).isoformat().replace("+00:00", "Z")
        comment = message or "Imported from -"
        return OciImageConfig(
            architecture=architecture or host_architecture(),
            os="linux",
            created=created,
            comment=comment,
            rootfs=OciRootfs(diff_ids=[*diff_ids]),
            history=[HistoryEntry(created=created, comment=comment)],
        )

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
        layers = await asyncio.to_thread(self._open_catalogue.remove, [image.id for image in images])
        removed += [ImageRemoval(deleted=layer.chain_id) for layer in reversed(layers)]
        await asyncio.to_thread(self._reload)
        if not self._unpacking:
            await asyncio.to_thread(self._sweep)
        return tuple(removed)


def _images_of(
    contents: MetadataSnapshot, known: Mapping[str, Image], configs: Mapping[str, bytes]
) -> dict[str, Image]:
    tags: dict[str, list[str]] = {}
    for tag, image_id in contents.tags.items():
        tags.setdefault(image_id, []).append(tag)
    images = {}
    for image_id, row in contents.images.items():
        if image_id in known:
            base = known[image_id]
        elif image_id in configs:
            sizes = tuple(contents.layers[layer.chain_id].content_bytes for layer in row.layers)
            base = build_image(image_id, decode_config(configs[image_id], image_id), layer_sizes=sizes)
        else:
            continue
        last = (
            datetime.fromtimestamp(row.tagged_ns / SECOND, UTC).isoformat().replace("+00:00", "Z")
            if row.tagged_ns
            else ""
        )
        images[image_id] = msgspec.structs.replace(base, repo_tags=tuple(tags.get(image_id, ())), last_tagged=last)
    return images


def _names_an_id(name: str, image: Image) -> bool:
    """Whether the caller named the image by its id rather than by one of its tags."""
    try:
        return image_reference.parse_tagged(name).familiar not in image.repo_tags
    except InvalidArgumentError:
        return True


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]
