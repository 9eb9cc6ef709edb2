"""Manifests and indexes of registries: decoding with bounds, and the manifest of an image to push. Pure."""

from collections.abc import Sequence

import msgspec

from agent.image.content.descriptor import Descriptor
from agent.image.registry.errors import RegistryContentError, unsupported_media_type
from agent.layer_limit import LAYER_LIMIT
from covey.image_reference import is_digest

MANIFEST_LIMIT_BYTES = 4 << 20
CONFIG_LIMIT_BYTES = 8 << 20
LAYER_LIMIT_BYTES = 64 << 30

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"

_MANIFESTS = frozenset({DOCKER_MANIFEST, OCI_MANIFEST})
_INDEXES = frozenset({DOCKER_INDEX, OCI_INDEX})
_CONFIGS = frozenset({DOCKER_CONFIG, OCI_CONFIG, "application/octet-stream", "text/html", ""})
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
ACCEPT = f"{DOCKER_MANIFEST}, {DOCKER_INDEX}, {OCI_MANIFEST}, {OCI_INDEX}, {_SCHEMA_1};q=0.1"


class _Document(msgspec.Struct, rename="camel"):
    schema_version: int = 0
    media_type: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None
    manifests: list[Descriptor] | None = None


class Manifest(msgspec.Struct, frozen=True):
    """A decoded manifest: an image (`config`, `layers`), or an index (`manifests`)."""

    media_type: str
    digest: str
    body: bytes
    config: Descriptor = Descriptor()
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()

    @property
    def is_index(self) -> bool:
        return self.media_type in _INDEXES

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.body))


def decode_manifest(body: bytes, content_type: str, digest: str, name: str) -> Manifest:
    """Decode a manifest whose digest was verified. Raises UnsupportedError or RegistryContentError that names it."""
    what = f"the manifest of {name}"
    try:
        document = msgspec.json.decode(body, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RegistryContentError(f"{what} is malformed: {error}") from None
    media_type = document.media_type or content_type.partition(";")[0].strip()
    if document.schema_version == 1 or "distribution.manifest.v1" in media_type:
        raise unsupported_media_type(
            media_type
            if "distribution.manifest.v1" in media_type
            else "application/vnd.docker.distribution.manifest.v1+json",
            what,
        )
    if media_type not in _MANIFESTS | _INDEXES:
        raise unsupported_media_type(media_type, what)
    if media_type in _INDEXES:
        entries = tuple(document.manifests or ())
        _check(entries, MANIFEST_LIMIT_BYTES, what)
        return Manifest(media_type, digest, body, manifests=entries)
    if document.config is None:
        raise RegistryContentError(f"{what} names no image config")
    if document.config.media_type not in _CONFIGS:
        raise unsupported_media_type(document.config.media_type, what)
    layers = tuple(document.layers or ())
    if len(layers) > LAYER_LIMIT:
        raise RegistryContentError(f"{what} has {len(layers)} layers; at most {LAYER_LIMIT} are allowed")
    _check((document.config,), CONFIG_LIMIT_BYTES, what)
    _check(layers, LAYER_LIMIT_BYTES, what)
    return Manifest(media_type, digest, body, document.config, layers)


def encode_manifest(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """The manifest of an image: Docker's schema 2, or an OCI manifest if a layer is compressed with zstd."""
    oci = any(layer.media_type == OCI_LAYER_ZSTD for layer in layers)
    if oci:
        layers = [
            msgspec.structs.replace(
                layer,
                media_type=layer.media_type
                if layer.media_type == OCI_LAYER_ZSTD
                else "application/vnd.oci.image.layer.v1.tar+gzip",
            )
            for layer in layers
        ]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST if oci else DOCKER_MANIFEST,
        "config": msgspec.structs.replace(config, media_type=OCI_CONFIG if oci else DOCKER_CONFIG),
        "layers": list(layers),
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=3)


def _check(entries: Sequence[Descriptor], limit_bytes: int, what: str) -> None:
    for entry in entries:
        if not is_digest(entry.digest):
            raise RegistryContentError(f'{what} names "{entry.digest[:80]}", which is not a sha256 digest')
        if not 0 <= entry.size <= limit_bytes:
            raise RegistryContentError(
                f"{what} names {entry.digest} with {entry.size} bytes; at most {limit_bytes} are allowed"
            )
