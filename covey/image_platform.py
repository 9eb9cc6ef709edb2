"""Platforms of images: `os/architecture/variant` as clients write it, and the choice in an index. Pure."""

import platform as host
import re
from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec

from covey.errors import InvalidArgumentError, NotFoundError

_PART = re.compile(r"[A-Za-z0-9_.-]+")
_ALIASES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "armel": "arm",
    "i386": "386",
    "i686": "386",
    "armv7l": "arm",
}
_SYSTEMS = frozenset({"linux", "windows", "darwin", "freebsd"})
_ARM_VARIANTS = ("v8", "v7", "v6", "v5")


class ImagePlatform(msgspec.Struct, frozen=True, omit_defaults=True):
    """The platform that an image is for."""

    architecture: str = ""
    os: str = ""
    variant: str = ""


class _Entry(Protocol):
    @property
    def platform(self) -> ImagePlatform | None: ...


E = TypeVar("E", bound=_Entry)


def architecture_name(machine: str) -> str:
    """The OCI name of an architecture that the kernel calls `machine`; another name stays."""
    lowered = machine.lower()
    return _ALIASES.get(lowered, lowered)


def host_architecture() -> str:
    """This host's architecture by its OCI name."""
    return architecture_name(host.machine())


def parse_platform(text: str) -> ImagePlatform | None:
    """The platform of a query parameter, None if it is empty. A part alone is a system or an architecture."""
    if not text:
        return None
    parts = text.split("/")
    if len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts):
        raise InvalidArgumentError(f'"{text}": cannot parse platform specifier: invalid argument')
    lower = [part.lower() for part in parts]
    if len(lower) == 1:
        if lower[0] in _SYSTEMS:
            return normalized(ImagePlatform(host_architecture(), lower[0]))
        return normalized(ImagePlatform(lower[0], "linux"))
    return normalized(ImagePlatform(lower[1], lower[0], lower[2] if len(lower) == 3 else ""))


def host_platform() -> ImagePlatform:
    return normalized(ImagePlatform(host_architecture(), "linux"))


def normalized(platform: ImagePlatform) -> ImagePlatform:
    """The platform with canonical names and without default variants."""
    architecture = _ALIASES.get(platform.architecture, platform.architecture)
    variant = platform.variant
    if platform.architecture == "armel":
        variant = "v6"
    if (architecture, variant) in {("arm64", "v8"), ("arm64", "8"), ("amd64", "v1")}:
        variant = ""
    if architecture == "arm":
        variant = f"v{variant}" if variant.isdecimal() else variant or "v7"
    return ImagePlatform(architecture, platform.os, variant)


def describe(platform: ImagePlatform) -> str:
    """`linux/arm/v7`."""
    return "/".join(part for part in (platform.os, platform.architecture, platform.variant) if part)


def matches(wanted: ImagePlatform, offered: ImagePlatform) -> bool:
    """Whether an image for `offered` runs where `wanted` is asked for. Older 32-bit ARM variants run on newer ones."""
    return bool(_acceptable(wanted, normalized(offered)))


def choose(manifests: Sequence[E], wanted: ImagePlatform) -> E:
    """The entry of an index for a platform: the newest variant that runs there. Raises NotFoundError in Docker's words."""
    candidates = [
        (rank, -at, entry)
        for at, entry in enumerate(manifests)
        if entry.platform is not None and (rank := _acceptable(wanted, normalized(entry.platform)))
    ]
    if not candidates:
        raise NotFoundError(f"no matching manifest for {describe(wanted)} in the manifest list entries")
    return max(candidates, key=lambda candidate: candidate[:2])[2]


def _acceptable(wanted: ImagePlatform, offered: ImagePlatform) -> int:
    """0 if it does not run, else the better the higher."""
    if (wanted.os, wanted.architecture) != (offered.os, offered.architecture):
        return 0
    if wanted.variant == offered.variant:
        return 100
    if wanted.architecture == "arm" and {wanted.variant, offered.variant} <= set(_ARM_VARIANTS):
        distance = _ARM_VARIANTS.index(offered.variant) - _ARM_VARIANTS.index(wanted.variant)
        return 100 - distance if distance > 0 else 0
    if not offered.variant:
        return 50
    return 0
