"""Platforms of images: the `platform` parameter, and whether an image is of a platform. Pure."""

import msgspec

from agent.image.model import Image
from covey.errors import InvalidArgumentError, NotFoundError

_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386"}


class Platform(msgspec.Struct, frozen=True):
    """An operating system, an architecture and a variant; "" matches any."""

    os: str
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def parse(text: str) -> Platform | None:
    """The platform in `linux/arm64/v8`; None if the text is empty. Raises InvalidArgumentError."""
    if not text:
        return None
    parts = text.strip().lower().split("/")
    if not 1 <= len(parts) <= 3 or not all(part and part.replace("_", "").replace("-", "").isalnum() for part in parts):
        raise InvalidArgumentError(f'"{text}" is an invalid OS component or platform: use OS/ARCH[/VARIANT]')
    if len(parts) == 1:
        known = _ARCHITECTURES.get(parts[0], parts[0])
        return Platform(known) if known == "linux" else Platform("linux", known)
    return Platform(parts[0], _ARCHITECTURES.get(parts[1], parts[1]), parts[2] if len(parts) == 3 else "")


def of_image(image: Image) -> Platform:
    """The platform of an image."""
    return Platform(image.os or "linux", image.architecture, image.variant)


def require(image: Image, wanted: Platform | None, name: str) -> None:
    """Raises NotFoundError in Docker's words, so that clients pull the image of the wanted platform."""
    if wanted is None:
        return
    actual = of_image(image)
    same = (wanted.os, wanted.architecture or actual.architecture) == (actual.os, actual.architecture)
    if not same or (wanted.variant and actual.variant and wanted.variant != actual.variant):
        raise NotFoundError(
            f"image with reference {name} was found but does not match the specified platform: "
            f"wanted {wanted}, actual: {actual}"
        )


def warning(image: Image, architecture: str) -> str:
    """A warning in Docker's words for an image of another architecture than the host's, "" for none."""
    actual = of_image(image)
    if actual.architecture in {"", architecture}:
        return ""
    return (
        f"The requested image's platform ({actual}) does not match the detected host platform "
        f"(linux/{architecture}) and no specific platform was requested"
    )
