"""OCI descriptors: references to content by digest, their media types, and the platform of an image. Pure."""

import msgspec

from covey.image_platform import ImagePlatform


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """An OCI content descriptor, with the fields that images use."""

    media_type: str = ""
    digest: str = ""
    size: int = 0
    annotations: dict[str, str] | None = None
    platform: ImagePlatform | None = None
