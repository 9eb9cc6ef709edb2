"""Manifest of an image archive: reads `docker save`'s manifest.json or an OCI layout's index.json as a list of images. Pure.

The names of the outer tar's members never reach the file system. The unpack process stages the members under numbers and
passes an index of them to `plan`, which says which are configs and layers, or why the archive is not an image.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from agent.image.content.descriptor import Descriptor
from agent.layer_limit import LAYER_LIMIT
from covey import image_platform, image_reference
from covey.errors import CoveyError, InvalidArgumentError, NotFoundError
from covey.image_platform import ImagePlatform

IMAGE_LIMIT = 1_000
NESTING_LIMIT = 4

_T = TypeVar("_T")


class StagedMember(msgspec.Struct, frozen=True):
    """One file of the outer tar: its staged path, digest and size. A link has only `link`, its target."""

    path: str = ""
    digest: str = ""
    size: int = 0
    link: str = ""


class ArchivedImage(msgspec.Struct, frozen=True):
    """An image in the archive: its config, its layers (bottom first) and its tags."""

    config: StagedMember
    layers: tuple[StagedMember, ...]
    tags: tuple[str, ...] = ()


class _DockerEntry(msgspec.Struct, rename="pascal"):
    config: str
    layers: list[str] | None = None
    repo_tags: list[str] | None = None


class _OciDocument(msgspec.Struct, rename="camel"):
    """An OCI index or an OCI image manifest. The keys that are present tell which."""

    manifests: list[Descriptor] | None = None
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None


def plan(
    members: Mapping[str, StagedMember],
    read: Callable[[StagedMember], bytes],
    platform: ImagePlatform,
    *,
    prefer_index: bool = False,
) -> tuple[ArchivedImage, ...]:
    """The images of an archive. `read` returns the bytes of a small member. Of an index the entry for `platform` is chosen.

    `prefer_index`: read the OCI layout, which has all platforms, if the archive has both formats. Raises InvalidArgumentError.
    """
    archive = _Archive(members, read, platform)
    if "manifest.json" in members and not (prefer_index and "index.json" in members):
        found = archive.docker_images()
    elif "index.json" in members:
        found = archive.oci_images()
    else:
        raise InvalidArgumentError(
            "the archive is not an image: it has neither manifest.json (docker save) nor index.json (OCI layout); "
            "use docker import for a root file system"
        )
    if not found:
        raise InvalidArgumentError("the archive has no image")
    return tuple(found)


class _Archive:
    def __init__(
        self, members: Mapping[str, StagedMember], read: Callable[[StagedMember], bytes], platform: ImagePlatform
    ) -> None:
        self._members = members
        self._read = read
        self._platform = platform

    def docker_images(self) -> list[ArchivedImage]:
        entries = self._decode("manifest.json", self._find("manifest.json"), list[_DockerEntry])
        _check_limit(len(entries), IMAGE_LIMIT, "images")
        images = []
        for entry in entries:
            layers = entry.layers or []
            _check_limit(len(layers), LAYER_LIMIT, "layers")
            tags = tuple(image_reference.parse_tagged(tag).familiar for tag in entry.repo_tags or [])
            images.append(ArchivedImage(self._find(entry.config), tuple(self._find(layer) for layer in layers), tags))
        return images

    def oci_images(self) -> list[ArchivedImage]:
        index = self._decode("index.json", self._find("index.json"), _OciDocument)
        _check_limit(len(index.manifests or []), IMAGE_LIMIT, "images")
        return [
            self._oci_image(descriptor, _annotated_tags(descriptor), NESTING_LIMIT)
            for descriptor in index.manifests or []
            if not _is_attestation(descriptor)
        ]

    def _oci_image(self, descriptor: Descriptor, tags: tuple[str, ...], depth: int) -> ArchivedImage:
        if depth == 0:
            raise InvalidArgumentError(f"the archive has more than {NESTING_LIMIT} nested indexes")
        document = self._decode(descriptor.digest, self._blob(descriptor), _OciDocument)
        if document.manifests is not None:
            return self._oci_image(self._for_platform(descriptor.digest, document.manifests), tags, depth - 1)
        if document.config is None:
            raise InvalidArgumentError(f"the manifest {descriptor.digest} names no image config")
        layers = document.layers or []
        _check_limit(len(layers), LAYER_LIMIT, "layers")
        return ArchivedImage(self._blob(document.config), tuple(self._blob(layer) for layer in layers), tags)

    def _for_platform(self, digest: str, manifests: list[Descriptor]) -> Descriptor:
        candidates = [entry for entry in manifests if not _is_attestation(entry)]
        if len(candidates) == 1 and candidates[0].platform is None:
            return candidates[0]
        try:
            return image_platform.choose(candidates, self._platform)
        except NotFoundError:
            offered = (
                ", ".join(image_platform.describe(entry.platform) for entry in candidates if entry.platform) or "none"
            )
            raise InvalidArgumentError(
                f"the index {digest} has no image for {image_platform.describe(self._platform)}; it has: {offered}"
            ) from None

    def _blob(self, descriptor: Descriptor) -> StagedMember:
        if not image_reference.is_digest(descriptor.digest):
            raise InvalidArgumentError(
                f'"{descriptor.digest}" is not a sha256 digest; other algorithms are not supported'
            )
        member = self._find("blobs/" + descriptor.digest.replace(":", "/"))
        if member.digest != descriptor.digest:
            raise InvalidArgumentError(f"the blob {descriptor.digest} does not match its digest: it is {member.digest}")
        return member

    def _find(self, name: str) -> StagedMember:
        for _ in range(NESTING_LIMIT):
            member = self._members.get(_normalize(name))
            if member is None:
                break
            if not member.link:
                return member
            name = member.link
        raise InvalidArgumentError(f'the archive does not have "{name[:200]}", which its manifest names')

    def _decode(self, name: str, member: StagedMember, kind: type[_T]) -> _T:
        try:
            return msgspec.json.decode(self._read(member), type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidArgumentError(f"{name} in the archive is malformed: {error}") from None


def _annotated_tags(descriptor: Descriptor) -> tuple[str, ...]:
    """The image name in the annotations. A tag without a name is ignored."""
    annotations = descriptor.annotations or {}
    name = annotations.get("io.containerd.image.name") or annotations.get("org.opencontainers.image.ref.name", "")
    if not any(mark in name for mark in ":/"):
        return ()
    try:
        return (image_reference.parse_tagged(name).familiar,)
    except CoveyError:
        return ()


def _is_attestation(descriptor: Descriptor) -> bool:
    return (descriptor.annotations or {}).get("vnd.docker.reference.type") == "attestation-manifest"


def _normalize(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in {"", "."})


def _check_limit(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise InvalidArgumentError(f"the archive has {count} {what}; at most {limit} are allowed")
