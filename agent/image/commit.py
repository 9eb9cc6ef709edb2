"""Commit: a new image from an image and the writable layer of a container.

The worker process for container files writes the layer and unpacks it in a staging folder. A crash, an error or a cancelled
caller leaves nothing behind.

Invariant: the container is held still only while its files are read.
"""

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import msgspec

from agent.filesystem import process
from agent.filesystem.protocol import LAYER_BLOB, FileRequest
from agent.image.content.image_index import format_time
from agent.image.content.repository import ImageRepository
from agent.image.content.staged import StagedContent, StagedImage, StagedLayer
from agent.image.model import (
    CommitRequest,
    HistoryEntry,
    Image,
    OciImageConfig,
    OciRootfs,
    decode_config,
    encode_config,
)
from agent.layer_limit import LAYER_LIMIT
from covey.errors import InvalidArgumentError, NotFoundError

_replace = msgspec.structs.replace


def committed_config(base: OciImageConfig, request: CommitRequest, diff_id: str, now_ns: int) -> bytes:
    """The config blob of the new image. `diff_id` is "" if nothing changed. Pure."""
    created = format_time(now_ns)
    step = HistoryEntry(
        created=created,
        created_by=request.created_by,
        author=request.author,
        comment=request.comment,
        empty_layer=not diff_id,
    )
    config = _replace(
        base,
        created=created,
        author=request.author or None,
        comment=request.comment or None,
        rootfs=OciRootfs(diff_ids=[*base.diff_ids, *([diff_id] if diff_id else [])]),
        history=[*(base.history or ()), step],
    )
    return encode_config(config, request.config)


class ImageCommit:
    """One commit on top of an image. `layers` are the image's unpacked layers, base first."""

    def __init__(
        self, repository: ImageRepository, base: Image, layers: tuple[Path, ...], request: CommitRequest
    ) -> None:
        self._repository = repository
        self._base = base
        self._layers = layers
        self._request = request

    async def run(self, source: AbstractAsyncContextManager[Path], now_ns: int) -> str:
        """Add the image. `source` gives the directory of the writable layer and holds its container still. Returns the id."""
        repository, base, request = self._repository, self._base, self._request
        if len(self._layers) >= LAYER_LIMIT:
            raise InvalidArgumentError(f"max depth exceeded: the image has {len(self._layers)} layers already")
        row = repository.snapshot.images.get(base.id)
        if row is None:
            raise NotFoundError(f"No such image: {base.id}")
        below = tuple(
            StagedLayer(stored.blob, diff_id, stored.chain_id)
            for stored, diff_id in zip(row.layers, base.diff_ids, strict=True)
        )
        async with repository.staging() as staging:
            layer = await self._write_layer(staging, below[-1].chain_id if below else "", source)
            raw = decode_config(await repository.read_blob(base.id), base.id)
            config = committed_config(raw, request, layer.diff_id if layer else "", now_ns)
            image_id = await repository.put_blob(config)
            tags = (request.tag,) if request.tag else ()
            image = StagedImage(image_id, (*below, *([layer] if layer else [])), tags, parent=base.id)
            blobs = {layer.digest: str(staging / LAYER_BLOB)} if layer else {}
            await repository.commit(StagedContent((image,), blobs))
        return image_id

    async def _write_layer(
        self, staging: Path, chain_id: str, source: AbstractAsyncContextManager[Path]
    ) -> StagedLayer | None:
        """Stage the layer. None if nothing changed."""
        async with AsyncExitStack() as held:
            upper = await held.enter_async_context(source)
            work = FileRequest(
                action="layer",
                container=self._request.container,
                upper=str(upper),
                layers=tuple(str(layer) for layer in reversed(self._layers)),
                staging=str(staging),
                chain_id=chain_id,
                known_layers=tuple(self._repository.snapshot.layers),
            )
            async with process.file_process(work) as worker:
                await worker.next_message()
                await held.aclose()
                layer = (await worker.result()).layer
                return None if layer is None else StagedLayer(*layer)
