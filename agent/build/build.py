"""One build, from its context to the image in the image store.

Invariant: the block of `BuildService.build` ends with no process, mount namespace, sandbox, cgroup or file of the build left.
"""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from agent.build import command, context, rewrite, stages
from agent.build.buildah import Buildah
from agent.build.command import BuildPaths, BuildPlace
from agent.build.context import ContextInput
from agent.build.dockerfile import parse
from agent.build.image_exchange import ImageExchange
from agent.build.model import BuildReport, BuildRequest, BuiltImage
from agent.build.progress import BuildLog
from agent.build.records import BuildRecord, BuildRecords, is_repeatable, record_key
from agent.build.rewrite import BaseImage, RewrittenDockerfile
from agent.container.model import HOST_NETWORK, ContainerConfig, NetworkConnection, NetworkRequest
from agent.image.model import Image
from agent.image.registry.auth_config import ANONYMOUS
from agent.image.registry.service import RegistryService
from agent.image.store import ImageStore
from agent.runtime import cgroup
from covey import image_reference
from covey.errors import CoveyError, NotFoundError, UnsupportedError

_NO_NETWORK = "none"


class BuildNetworks(Protocol):
    """The part of ``agent.endpoint.container_networks.EndpointOwner`` that builds need."""

    async def connect(self, config: ContainerConfig) -> NetworkConnection: ...
    async def release(self, container_id: str) -> None: ...


class Builder:
    """Runs builds; one per daemon."""

    def __init__(
        self,
        images: ImageStore,
        registries: RegistryService,
        networks: BuildNetworks,
        buildah: Buildah,
        exchange: ImageExchange,
        *,
        records: BuildRecords,
        cgroup_parent: str,
    ) -> None:
        self._images = images
        self._registries = registries
        self._networks = networks
        self._buildah = buildah
        self._exchange = exchange
        self._records = records
        self._cgroup_parent = cgroup_parent

    async def run(
        self, request: BuildRequest, source: AsyncIterator[bytes], report: BuildReport, folder: Path
    ) -> BuiltImage:
        """Build in an empty folder. Raises BuildStepError for a step that fails, CoveyError for what cannot be built."""
        given, paths = ContextInput(source), _prepare_paths(folder, request)
        record = await self._record(request, given.digest) if await given.is_small() else None
        if record is None:
            await context.unpack_context(given.chunks(), paths.context)
            record = await self._record(request, given.digest)
        if record is None:
            record = await self._build(request, report, paths, folder, record_key(request, given.digest))
        else:
            for line in record.log:
                await report(line)
        tags = tuple(image_reference.parse_tagged(tag).familiar for tag in request.tags)
        for tag in tags:
            await self._images.tag(record.image_id, tag)
        return BuiltImage(record.image_id, tags)

    async def _record(self, request: BuildRequest, digest: str) -> BuildRecord | None:
        """The record of the same build, if its result is allowed and still right."""
        if request.no_cache or request.pull:
            return None
        record = await asyncio.to_thread(self._records.find, record_key(request, digest))
        return record if record is not None and self._still_holds(record) else None

    def _still_holds(self, record: BuildRecord) -> bool:
        """Whether the images of a record are what they were, and its result is still there."""
        wanted = {**record.bases, record.image_id: record.image_id}
        try:
            return all(self._images.get(name).id == image_id for name, image_id in wanted.items())
        except NotFoundError:
            return False

    async def _build(
        self, request: BuildRequest, report: BuildReport, paths: BuildPaths, folder: Path, key: str
    ) -> BuildRecord:
        """Build by buildah, and record the result if the same build gives it again."""
        ignored = await context.read_ignore_file(paths.context, request.dockerfile)
        dockerfile = parse(await context.read_dockerfile(paths.context, request.dockerfile), request.dockerfile)
        given = {name: value for name, value in request.build_args.items() if value is not None}
        plan = stages.plan_stages(dockerfile, given, request.target)
        images = await self._base_images(stages.external_images(plan), request, report, folder)
        await self._export_cache_sources(request, folder)
        arguments = command.passed_arguments(plan, request.build_args)
        rewritten = rewrite.rewrite(dockerfile, plan, images, given)
        await asyncio.to_thread(_write_files, paths, rewritten, ignored, request.secrets)
        step_count = rewritten.step_count + bool(request.labels)  # buildah adds a LABEL
        log = BuildLog(rewritten.shown, step_count, rewritten.starts)
        async with self._place(request) as place:
            line = command.build_arguments(request, arguments, paths, place)
            await self._run(line, log, report, folder)
        image = await self._exchange.import_(log.image_id, folder)
        warnings = _warnings(command.unused_arguments(plan, request.build_args), request.cache_from)
        for text in warnings:
            await report(text)
        bases = {name: base.id for name, base in images.items()}
        record = BuildRecord(image.id, bases, (*log.cached(), *warnings))
        triggers = [text for base in images.values() for text in base.on_build]
        if not request.no_cache and is_repeatable(dockerfile.instructions, triggers):
            await asyncio.to_thread(self._records.save, key, record)
        return record

    async def _run(self, line: Sequence[str], log: BuildLog, report: BuildReport, folder: Path) -> None:
        """Run buildah and report its output. Raises BuildStepError."""
        async with self._buildah.running(line, folder) as process:
            async for piece in process.output():
                for part in log.feed(piece):
                    await report(part)
            for part in log.end():
                await report(part)
            if status := await process.status():
                raise log.failure(status)

    async def _base_images(
        self, names: tuple[str, ...], request: BuildRequest, report: BuildReport, folder: Path
    ) -> dict[str, BaseImage]:
        """The images that the Dockerfile names, pulled where they are missing or asked for, and exported to buildah."""
        found = {}
        for name in names:
            image = await self._image(name, request, report)
            await self._exchange.export(image, folder)
            found[name] = BaseImage(image.id, image.config.env, image.config.shell, image.config.on_build)
        return found

    async def _image(self, name: str, request: BuildRequest, report: BuildReport) -> Image:
        may_pull = not image_reference.is_image_id(name)
        if not (request.pull and may_pull):
            try:
                return self._images.get(name)
            except NotFoundError:
                if not may_pull:
                    raise
        host = image_reference.parse(name).domain
        credentials = request.credentials.get(host, ANONYMOUS)
        with self._registries.pull(name, credentials=credentials) as job:
            async for step in job:
                await report(step)
            (pulled,) = await job.result()
        return self._images.get(pulled.image_id)

    async def _export_cache_sources(self, request: BuildRequest, folder: Path) -> None:
        """Give buildah the images of `--cache-from`, whose layers it may use. As in Docker, those that are missing are no error."""
        for name in request.cache_from:
            try:
                image = self._images.get(name)
            except CoveyError:
                continue
            await self._exchange.export(image, folder)

    @asynccontextmanager
    async def _place(self, request: BuildRequest) -> AsyncIterator[BuildPlace]:
        """The network and the cgroup of the build's commands, removed at the end of the block."""
        build_id = secrets.token_hex(32)
        parent = f"/{(request.cgroup_parent or self._cgroup_parent).strip('/')}/{build_id}"
        try:
            yield BuildPlace(await self._network(request.network, build_id), parent)
        finally:
            await asyncio.shield(self._leave(build_id, parent))

    async def _leave(self, build_id: str, parent: str) -> None:
        await self._networks.release(build_id)
        layout = await asyncio.to_thread(cgroup.detect)
        await asyncio.to_thread(cgroup.kill_all, layout, parent)
        await asyncio.to_thread(cgroup.remove, layout, parent)

    async def _network(self, name: str, build_id: str) -> str:
        if name in {_NO_NETWORK, HOST_NETWORK}:
            return name
        if name.startswith("container:"):
            raise UnsupportedError(f"a build in the network of a container is not supported (networkmode {name})")
        wanted = "bridge" if name in {"", "default"} else name
        config = ContainerConfig(
            id=build_id,
            name=f"build-{build_id[:12]}",
            image="",
            image_id="",
            args=(),
            network_mode=wanted,
            requested_networks=(NetworkRequest(network=wanted),),
        )
        connection = await self._networks.connect(config)
        if connection.netns_path == HOST_NETWORK:
            return HOST_NETWORK
        return f"ns:{connection.netns_path}" if connection.netns_path else _NO_NETWORK


def _prepare_paths(folder: Path, request: BuildRequest) -> BuildPaths:
    for name in ("unpacked", "unpacked/context", "heredocs", "runtime", "secrets"):
        (folder / name).mkdir(mode=0o755 if name == "heredocs" else 0o700)
    return BuildPaths(
        context=folder / "unpacked" / "context",
        dockerfile=folder / "Dockerfile",
        ignore_file=folder / "ignore",
        heredocs=folder / "heredocs",
        runtime=folder / "runtime",
        secrets={name: folder / "secrets" / str(number) for number, name in enumerate(request.secrets)},
    )


def _write_files(paths: BuildPaths, rewritten: RewrittenDockerfile, ignored: bytes, given: Mapping[str, bytes]) -> None:
    paths.dockerfile.write_text(rewritten.text)
    paths.ignore_file.write_bytes(ignored)
    for name, text in rewritten.files.items():
        path = paths.heredocs / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    for name, path in paths.secrets.items():
        path.write_bytes(given[name])
        path.chmod(0o400)


def _warnings(unused_arguments: Sequence[str], cache_from: Sequence[str]) -> tuple[str, ...]:
    found = []
    if unused_arguments:
        found.append(f"[Warning] One or more build-args [{' '.join(unused_arguments)}] were not consumed\n")
    if cache_from:  # buildah looks for an image of each step, and a pulled image is that of its last step
        found.append(
            f"[Warning] --cache-from: of [{' '.join(cache_from)}] only the last step of each image can be used, not those before it\n"
        )
    return tuple(found)


def remove_folder(folder: Path) -> None:
    """Delete the files of a build."""
    shutil.rmtree(folder, ignore_errors=True)
