"""OCI descriptors: references to content by digest, their media types, and the platform of an image. Pure."""

import platform

import msgspec

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class ImagePlatform(msgspec.Struct, frozen=True, omit_defaults=True):
    """The platform that an image in an index is for."""

    architecture: str = ""
    os: str = ""
    variant: str = ""


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """An OCI content descriptor, with the fields that images use."""

    media_type: str = ""
    digest: str = ""
    size: int = 0
    annotations: dict[str, str] | None = None
    platform: ImagePlatform | None = None


def host_architecture() -> str:
    """This host's architecture by its OCI name."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)
