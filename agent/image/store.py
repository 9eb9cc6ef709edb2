"""Image store: the entry point to the images of this host.

Reading (`get`, `list`, `layers`, `history`) is synchronous and from memory. Changes are awaited: the unpack process
does the heavy work, and `agent.image.content.repository` orders the commits.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from pathlib import Path

import msgspec

from agent.image.archive import unpack_process, writer
from agent.image.archive.unpack_protocol import UnpackLimits, UnpackMessage, UnpackRequest
from agent.image.commit import ImageCommit
from agent.image.config_changes import apply_changes
from agent.image.content.image_index import imported_config
from agent.image.content.repository import ImageRepository
from agent.image.content.staged import StagedContent
from agent.image.job import JobFollower, JobTable, Report
from agent.image.lookup import filter_images, resolve_image
from agent.image.model import CommitRequest, HistoryEntry, Image, ImageConfig, ImageRemoval, Progress, encode_config
from agent.image.removal import ImageUser, name_of, plan_removal
from covey import image_platform, image_reference
from covey.clock import Clock, wall_clock
from covey.errors import NotFoundError
from covey.image_platform import ImagePlatform, host_architecture

Source = unpack_process.Source


def _no_containers(_image_id: str) -> Sequence[ImageUser]:
    return ()


def _ignore_progress(_progress: Progress) -> None:
    return


class ImageStore:
    """Images under `state_dir/images`. `containers_using` returns the containers that use an image."""

    def __init__(
        self,
        state_dir: Path,
        *,
        containers_using: Callable[[str], Sequence[ImageUser]] = _no_containers,
        limits: UnpackLimits | None = None,
        clock: Clock = wall_clock,
    ) -> None:
        self.repository = ImageRepository(Path(state_dir) / "images", clock)
        self._in_use = containers_using
        self._limits = limits or UnpackLimits()
        self._clock = clock
        self._jobs = JobTable("images")

    async def start(self) -> None:
        """Open the store and delete leftovers of an earlier process. Raises OSError when the folder is not writable."""
        await self.repository.start()
        await self._jobs.open()

    async def close(self) -> None:
        """Cancel running jobs and close the database. The caller cancels or awaits other operations first."""
        await self._jobs.close()
        await self.repository.close()

    def get(self, name: str) -> Image:
        """The image with a reference, an id or a unique id prefix. Raises NotFoundError, or ConflictError if ambiguous."""
        snapshot = self.repository.snapshot
        return resolve_image(name, self.repository.images, snapshot.tags, snapshot.digests)

    def get_for_platform(self, name: str, platform: str) -> Image:
        """The image with this name. Raises NotFoundError if it is for another platform than `platform`, unless that is empty."""
        image, wanted = self.get(name), image_platform.parse_platform(platform)
        actual = ImagePlatform(image.architecture, image.os, image.variant)
        if wanted is not None and not image_platform.matches(wanted, actual):
            raise NotFoundError(
                f"image with reference {name} was found but does not provide the specified platform "
                f"({image_platform.describe(wanted)})"
            )
        return image

    def id_of(self, name: str) -> str:
        """The id of an image. Raises as `get`."""
        return self.get(name).id

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> tuple[Image, ...]:
        """The images that match Docker's filters (dangling, label, before, since, until, reference), newest first."""
        images = sorted(self.repository.images.values(), key=lambda image: (image.created, image.id), reverse=True)
        return filter_images(images, filters or {}, self.get, self._clock())

    def history(self, name: str) -> tuple[HistoryEntry, ...]:
        """The build steps of an image, oldest first."""
        return self.get(name).history

    def layers(self, name: str) -> tuple[Path, ...]:
        """The unpacked layers of an image, base layer first. They must not be written to.

        By its full id also those of an image that was removed by force and that a container still needs.
        """
        snapshot = self.repository.snapshot
        image_id = name if name in snapshot.removed else self.get(name).id
        numbers = [snapshot.layers[layer.chain_id].directory for layer in snapshot.images[image_id].layers]
        return tuple(self.repository.content.layer(number) for number in numbers)

    def disk_bytes(self) -> int:
        """Total size of the unpacked layers, each counted once."""
        return self.repository.disk_bytes()

    async def load(
        self, source: Source, progress: Callable[[Progress], None] = _ignore_progress, *, platform: str = ""
    ) -> tuple[str, ...]:
        """Load an archive of `docker save` or an OCI layout. Returns its tags, and the ids of images without a tag.

        With `platform` (`os/architecture[/variant]`) the images for it are loaded, instead of those for this host.
        """
        async with self._unpack("load", source, progress, platform) as result:
            await self.repository.commit(StagedContent(result.images, result.blobs))
        return tuple(dict.fromkeys(name for image in result.images for name in image.tags or (image.config,)))

    def loading(self, source: Source, *, platform: str = "") -> AbstractContextManager[JobFollower[tuple[str, ...]]]:
        """Load an archive as a job, which is cancelled when its follower leaves."""

        async def work(report: Report) -> tuple[str, ...]:
            return await self.load(source, report, platform=platform)

        return self._jobs.join(("load", id(source)), work)

    async def import_(
        self,
        source: Source,
        name: str = "",
        *,
        message: str = "",
        changes: Sequence[str] = (),
        architecture: str = "",
        progress: Callable[[Progress], None] = _ignore_progress,
    ) -> str:
        """Create an image from the tar of a root file system. Returns its id."""
        config = apply_changes(ImageConfig(), changes)
        tags = (image_reference.parse_tagged(name).familiar,) if name else ()
        async with self._unpack("import", source, progress) as result:
            (staged,) = result.images
            diff_ids = tuple(layer.diff_id for layer in staged.layers)
            raw = imported_config(diff_ids, message, architecture or host_architecture(), self._clock())
            image_id = await self.repository.put_blob(encode_config(raw, config))
            image = msgspec.structs.replace(staged, config=image_id, tags=tags)
            await self.repository.commit(StagedContent((image,), result.blobs))
        return image_id

    async def commit(self, request: CommitRequest, source: AbstractAsyncContextManager[Path]) -> str:
        """Create an image from another one and the writable layer that `source` gives, as a job. Returns its id."""
        tag = image_reference.parse_tagged(request.tag).familiar if request.tag else ""
        base = self.get(request.image_id)
        request = msgspec.structs.replace(request, tag=tag)

        async def work(_report: Report) -> str:
            return await ImageCommit(self.repository, base, self.layers(base.id), request).run(source, self._clock())

        with self._jobs.join(("commit", id(source)), work) as job:
            return await job.result()

    def save(self, names: Sequence[str], *, platform: str = "") -> AsyncIterator[bytes]:
        """The images as an archive that both `docker load` and OCI tools read. All names are resolved before the first byte.

        Raises NotFoundError for an unknown image, and for one that is for another platform than `platform`.
        """
        exports: dict[str, writer.ImageToSave] = {}
        for name in names:
            image = self.get_for_platform(name, platform)
            layers = tuple(layer.blob for layer in self.repository.snapshot.images[image.id].layers)
            before = exports.get(image.id, writer.ImageToSave(image.id, layers))
            tags = (name_of(name, image),) if name_of(name, image) in image.repo_tags else ()
            exports[image.id] = writer.ImageToSave(image.id, layers, tuple(dict.fromkeys((*before.tags, *tags))))
        archive = writer.write_archive(tuple(exports.values()), self.repository.content.blob)
        return self._stream_without_sweep(archive)

    async def tag(self, name: str, target: str) -> None:
        """Tag an image. A tag of another image moves. Raises InvalidArgumentError or NotFoundError."""
        tag = image_reference.parse_tagged(target).familiar
        async with self.repository.lock:
            await self.repository.tag(tag, self.get(name).id)

    async def remove(self, name: str, *, force: bool = False) -> tuple[ImageRemoval, ...]:
        """Remove a name of an image, and with its last name the image. Raises ConflictError as `agent.image.removal` says."""
        async with self.repository.lock:
            image = self.get(name)
            plan = plan_removal(name, image, self._in_use(image.id), force=force)
            if plan.removes_image:
                return await self._remove_images([image])
            await self.repository.untag(plan.names)
            return tuple(ImageRemoval(untagged=untagged) for untagged in plan.names)

    async def remove_released(self) -> None:
        """Delete the images that were removed by force while a container needed their layers, once none does."""
        async with self.repository.lock:
            unused = [image_id for image_id in self.repository.snapshot.removed if not self._in_use(image_id)]
            if unused:
                await self.repository.remove(unused)

    async def prune(
        self, *, unused: bool = False, filters: Mapping[str, Sequence[str]] | None = None
    ) -> tuple[tuple[ImageRemoval, ...], int]:
        """Remove untagged images, or with `unused` all without a container. Returns the effects and the freed bytes."""
        async with self.repository.lock:
            unwanted = [
                image for image in self.list(filters) if (unused or not image.repo_tags) and not self._in_use(image.id)
            ]
            before = self.disk_bytes()
            removed = await self._remove_images(unwanted)
            return removed, before - self.disk_bytes()

    @asynccontextmanager
    async def _unpack(
        self, mode: str, source: Source, progress: Callable[[Progress], None], platform: str = ""
    ) -> AsyncIterator[UnpackMessage]:
        async with self.repository.staging() as staging:
            layers = {chain: str(path) for chain, path in self.repository.layer_paths().items()}
            request = UnpackRequest(mode, str(staging), layers, self._limits, platform)
            yield await unpack_process.unpack(request, source, progress)

    async def _stream_without_sweep(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async with self.repository.sweep_paused():
            async for chunk in stream:
                yield chunk

    async def _remove_images(self, images: Sequence[Image]) -> tuple[ImageRemoval, ...]:
        if not images:
            return ()
        removed = [ImageRemoval(untagged=name) for image in images for name in (*image.repo_tags, *image.repo_digests)]
        removed += [ImageRemoval(deleted=image.id) for image in images]
        used = [image.id for image in images if self._in_use(image.id)]
        await self.repository.hide(used)
        layers = await self.repository.remove([image.id for image in images if image.id not in used])
        removed += [ImageRemoval(deleted=layer.chain_id) for layer in reversed(layers)]
        return tuple(removed)
