"""Images between the image store and buildah's storage. An image has the same id in both.

Invariant: an image goes to buildah as its own config and blobs, so nothing of it is converted and no blob is copied on the way.
"""

import asyncio
from pathlib import Path

import msgspec

from agent.build.buildah import Buildah
from agent.build.storage import BuildStorage
from agent.image.content.streams import MAGIC_BYTES, compression_of
from agent.image.model import Image
from agent.image.store import ImageStore

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYERS = {
    "": "application/vnd.docker.image.rootfs.diff.tar",
    "gzip": "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "zstd": "application/vnd.docker.image.rootfs.diff.tar.zstd",
}


class ImageExchange:
    """Exports and imports images, each export once at a time."""

    def __init__(self, images: ImageStore, buildah: Buildah, storage: BuildStorage) -> None:
        self._images = images
        self._buildah = buildah
        self._storage = storage
        self._lock = asyncio.Lock()

    async def export(self, image: Image, folder: Path) -> None:
        """Make an image known to buildah, if it is not yet. `folder` is for temporary files."""
        async with self._lock, self._images.repository.sweep_paused():
            if image.id.removeprefix("sha256:") in await asyncio.to_thread(self._storage.image_ids):
                return
            target = folder / f"base-{image.id[-12:]}"
            await asyncio.to_thread(self._write, image, target)
            await self._buildah.call(("pull", "--quiet", f"dir:{target.name}"), folder)

    async def import_(self, image_id: str, folder: Path) -> Image:
        """The image that buildah made, in the image store."""
        if image_id not in self._images.repository.images:
            archive = folder / "result.tar"
            await self._buildah.call(
                ("push", "--quiet", image_id.removeprefix("sha256:"), f"docker-archive:{archive.name}"), folder
            )
            await self._images.load(archive)
            await asyncio.to_thread(archive.unlink)
        return self._images.get(image_id)

    def _write(self, image: Image, target: Path) -> None:
        """A folder in the format `dir:`, whose blobs are symlinks to those of the image store."""
        blob = self._images.repository.content.blob
        target.mkdir(mode=0o700)
        layers = []
        for layer in self._images.repository.snapshot.images[image.id].layers:
            path = blob(layer.blob)
            with path.open("rb") as opened:
                media_type = _LAYERS[compression_of(opened.read(MAGIC_BYTES))]
            layers.append({"mediaType": media_type, "size": path.stat().st_size, "digest": layer.blob})
        config = {"mediaType": _CONFIG, "size": blob(image.id).stat().st_size, "digest": image.id}
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers}
        for digest in {image.id, *(str(layer["digest"]) for layer in layers)}:
            (target / digest.removeprefix("sha256:")).symlink_to(blob(digest))
        (target / "manifest.json").write_bytes(msgspec.json.encode(manifest))
        (target / "version").write_bytes(b"Directory Transport Version: 1.1\n")
