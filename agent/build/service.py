"""Build service: the entry point to builds on this host.

Invariant: at most `BUILD_LIMIT` builds run and `WAITING_LIMIT` wait. Invariant: nothing is pruned while a build runs, and no build
begins meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from agent.build.build import Builder, BuildNetworks, remove_folder
from agent.build.buildah import Buildah
from agent.build.command import check_request
from agent.build.image_exchange import ImageExchange
from agent.build.model import BuildReport, BuildRequest, BuiltImage, CacheRecord
from agent.build.records import BuildRecords
from agent.build.stages import require_host_platform
from agent.build.storage import BuildStorage
from agent.image.registry.service import RegistryService
from agent.image.store import ImageStore
from covey import image_reference
from covey.errors import ConflictError, UnavailableError

BUILD_LIMIT = 4
WAITING_LIMIT = 64


class BuildService:
    """One per daemon."""

    def __init__(
        self,
        state_dir: Path,
        run_dir: Path,
        images: ImageStore,
        registries: RegistryService,
        networks: BuildNetworks,
        *,
        cgroup_parent: str,
    ) -> None:
        self._storage = BuildStorage(state_dir / "build", run_dir)
        self._buildah = Buildah(self._storage)
        exchange = ImageExchange(images, self._buildah, self._storage)
        self._records = BuildRecords(self._storage.records_folder)
        self._builder = Builder(
            images, registries, networks, self._buildah, exchange, records=self._records, cgroup_parent=cgroup_parent
        )
        self._slots = asyncio.Semaphore(BUILD_LIMIT)
        self._builds = 0
        self._number = 0
        self._needs_cleaning = True
        self._pruning = False

    async def open(self) -> None:
        """Delete what builds of an earlier process left."""
        await asyncio.to_thread(self._storage.prepare)

    async def build(self, request: BuildRequest, source: AsyncIterator[bytes], report: BuildReport) -> BuiltImage:
        """Build an image from a context. A cancelled call leaves nothing of the build but its cache.

        Raises UnsupportedError where buildah is not installed, BuildStepError for a step that fails, and CoveyError.
        """
        check_request(request)
        require_host_platform(request.platform)
        for tag in request.tags:
            image_reference.parse_tagged(tag)
        self._buildah.require()
        if self._builds >= BUILD_LIMIT + WAITING_LIMIT:
            raise UnavailableError(f"{self._builds} builds run or wait on this host: try again later")
        if self._pruning:
            raise ConflictError("the build cache is being pruned: try again")
        self._builds += 1
        try:
            async with self._slots:
                return await self._build(request, source, report)
        finally:
            self._builds -= 1

    async def _build(self, request: BuildRequest, source: AsyncIterator[bytes], report: BuildReport) -> BuiltImage:
        self._number += 1
        folder = await asyncio.to_thread(self._storage.make_folder, str(self._number))
        try:
            if self._needs_cleaning and self._builds == 1:
                await self._buildah.call(("rm", "--all"), folder)
                self._needs_cleaning = False
            return await self._builder.run(request, source, report, folder)
        except BaseException:
            self._needs_cleaning = True  # buildah may have left working containers
            raise
        finally:
            await asyncio.shield(asyncio.to_thread(remove_folder, folder))

    async def cache(self) -> tuple[CacheRecord, ...]:
        """The layers of the build cache."""
        return await asyncio.to_thread(self._storage.records)

    async def prune(self, before_ns: int | None = None) -> tuple[CacheRecord, ...]:
        """Delete the build cache, or the images in it that were made before a time. Returns the layers that are gone.

        While a build runs, all of it is in use and stays.
        """
        before = await self.cache()
        if not before or self._builds:
            return ()
        self._buildah.require()
        self._pruning = True
        folder = self._storage.tmp / "prune"
        try:
            await asyncio.to_thread(folder.mkdir, mode=0o700)
            await asyncio.to_thread(self._records.clear)
            await self._buildah.call(("rm", "--all"), folder)
            if before_ns is None:
                await self._buildah.call(("rmi", "--all", "--force"), folder)
                await asyncio.to_thread(self._storage.remove_cache_mounts)
            elif old := await asyncio.to_thread(self._storage.images_before, before_ns):
                await self._buildah.call(("rmi", "--force", *old), folder)
        finally:
            self._pruning = False
            await asyncio.shield(asyncio.to_thread(remove_folder, folder))
        left = {record.id for record in await self.cache()}
        return tuple(record for record in before if record.id not in left)
