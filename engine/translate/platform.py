"""Platforms in query parameters: Docker's clients send them as a JSON object, older ones as text. Pure."""

import msgspec

from covey.errors import InvalidArgumentError


class _Platform(msgspec.Struct):
    architecture: str = ""
    os: str = ""
    variant: str = ""


def read_platform(text: str) -> str:
    """``os/architecture[/variant]`` of a JSON object such as ``{"os": "linux", "architecture": "arm64"}``; empty if there is none.

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
