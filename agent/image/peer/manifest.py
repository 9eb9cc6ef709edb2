"""Manifest of an image for a peer: the one that a registry has of it, or else a new one of the blobs as they are. Blocks on the disk."""

from agent.image.content.content_store import ContentStore
from agent.image.content.descriptor import Descriptor
from agent.image.content.digests import digest_of
from agent.image.content.metadata import MetadataSnapshot
from agent.image.content.streams import MAGIC_BYTES, compression_of
from agent.image.registry.manifests import DOCKER_LAYER, OCI_LAYER_ZSTD, Manifest, decode_manifest, encode_manifest
from covey.errors import NotFoundError

UNCOMPRESSED_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


def manifest_of(image_id: str, snapshot: MetadataSnapshot, content: ContentStore) -> Manifest:
    """The manifest, whose blobs are all in the store. Raises NotFoundError if the image was removed."""
    for row in snapshot.manifests.values():
        body = content.read_verified(row.digest) if row.image_id == image_id else None
        if body is None:
            continue
        manifest = decode_manifest(body, row.media_type, row.digest, image_id)
        if not manifest.is_index and all(content.blob(layer.digest).exists() for layer in manifest.layers):
            return manifest
    image = snapshot.images.get(image_id)
    if image is None:
        raise NotFoundError(f"No such image: {image_id}")
    layers = [_layer(layer.blob, content) for layer in image.layers]
    body = encode_manifest(Descriptor(digest=image_id, size=content.blob(image_id).stat().st_size), layers)
    return decode_manifest(body, "", digest_of(body), image_id)


def _layer(digest: str, content: ContentStore) -> Descriptor:
    path = content.blob(digest)
    with path.open("rb") as blob:
        compression = compression_of(blob.read(MAGIC_BYTES))
    media_type = {"": UNCOMPRESSED_LAYER, "zstd": OCI_LAYER_ZSTD}.get(compression, DOCKER_LAYER)
    return Descriptor(media_type, digest, path.stat().st_size)
