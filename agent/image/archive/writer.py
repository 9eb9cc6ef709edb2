"""Writer of image archives, for `docker save`: one tar that is both Docker's format and an OCI layout.

Invariant: equal images give equal bytes. All times are 0.

Called by `ImageStore.save`.
"""

import asyncio
import tarfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec

from agent.image.content.descriptor import Descriptor
from agent.image.content.digests import digest_of
from agent.image.content.streams import CHUNK_BYTES, MAGIC_BYTES, compression_of
from covey.image_reference import parse

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYERS = {
    "": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}


class ImageToSave(msgspec.Struct, frozen=True):
    """One image to write: its id, the digests of its layer blobs (bottom first) and its tags."""

    id: str
    layers: tuple[str, ...]
    tags: tuple[str, ...] = ()


async def write_archive(images: Sequence[ImageToSave], blob: Callable[[str], Path]) -> AsyncIterator[bytes]:
    """The archive as a stream of chunks. `blob` returns the file of a digest."""
    index: list[Descriptor] = []
    documents: dict[str, bytes] = {}
    for image in images:
        manifest = _manifest(image, blob)
        digest = digest_of(manifest)
        documents[_path(digest)] = manifest
        for tag in image.tags or ("",):
            annotations = (
                {"io.containerd.image.name": str(parse(tag)), "org.opencontainers.image.ref.name": parse(tag).tag}
                if tag
                else None
            )
            index.append(Descriptor(media_type=_MANIFEST, digest=digest, size=len(manifest), annotations=annotations))
    documents["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    documents["index.json"] = msgspec.json.encode(
        {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": index}
    )
    documents["manifest.json"] = _docker_manifest(images)
    written: set[str] = set()
    for image in images:
        for digest in (image.id, *image.layers):
            if digest not in written:
                written.add(digest)
                async for chunk in _file(_path(digest), blob(digest)):
                    yield chunk
    for name, content in documents.items():
        yield _header(name, len(content)) + content + _padding(len(content))
    yield bytes(2 * tarfile.BLOCKSIZE)


def _docker_manifest(images: Sequence[ImageToSave]) -> bytes:
    return msgspec.json.encode(
        [
            {
                "Config": _path(image.id),
                "RepoTags": list(image.tags) or None,
                "Layers": [_path(layer) for layer in image.layers],
            }
            for image in images
        ]
    )


def _manifest(image: ImageToSave, blob: Callable[[str], Path]) -> bytes:
    layers = []
    for digest in image.layers:
        path = blob(digest)
        with path.open("rb") as opened:
            media_type = _LAYERS[compression_of(opened.read(MAGIC_BYTES))]
        layers.append(Descriptor(media_type=media_type, digest=digest, size=path.stat().st_size))
    config = Descriptor(media_type=_CONFIG, digest=image.id, size=blob(image.id).stat().st_size)
    return msgspec.json.encode({"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers})


async def _file(name: str, path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as opened:
        size = path.stat().st_size
        yield _header(name, size)
        while chunk := await asyncio.to_thread(opened.read, CHUNK_BYTES):
            yield chunk
        yield _padding(size)


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)
