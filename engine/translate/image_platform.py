"""The ``platform`` parameter of requests, and whether an image is for a platform. Pure."""

import msgspec

from agent.image.model import Image
from covey.errors import InvalidArgumentError, NotFoundError
from covey.image_platform import ImagePlatform, describe, matches


class _Platform(msgspec.Struct):
    architecture: str = ""
    os: str = ""
    variant: str = ""


def read_platform(text: str) -> str:
    """``os/architecture[/variant]``. Newer clients send an object such as ``{"os": "linux", "architecture": "arm64"}``.

    Raises:
        InvalidArgumentError: the object is malformed or incomplete.
    """
    if not text.startswith("{"):
        return text
    try:
        parsed = msgspec.json.decode(text, type=_Platform)
    except msgspec.MsgspecError as error:
        raise InvalidArgumentError(f"failed to parse platform: {error}") from None
    if not (parsed.os and parsed.architecture):
        raise InvalidArgumentError("failed to parse platform: both os and architecture must be specified")
    return "/".join(part for part in (parsed.os, parsed.architecture, parsed.variant) if part)


def of_image(image: Image) -> ImagePlatform:
    """The platform of an image."""
    return ImagePlatform(image.architecture, image.os or "linux", image.variant)


def require(image: Image, wanted: ImagePlatform | None, name: str) -> None:
    """Raises NotFoundError in Docker's words, so that clients pull the image of the wanted platform."""
    actual = of_image(image)
    if wanted is not None and not matches(wanted, actual):
        raise NotFoundError(
            f"image with reference {name} was found but does not match the specified platform: "
            f"wanted {describe(wanted)}, actual: {describe(actual)}"
        )


def warning(image: Image, architecture: str) -> str:
    """A warning in Docker's words for an image of another architecture than the host's, "" for none."""
    actual = of_image(image)
    if actual.architecture in {"", architecture}:
        return ""
    return (
        f"The requested image's platform ({describe(actual)}) does not match the detected host platform "
        f"(linux/{architecture}) and no specific platform was requested"
    )
