"""Parser of platforms: ``linux/arm64/v8``. Pure."""

import re

from covey.errors import InvalidArgumentError

_PART = re.compile(r"[A-Za-z0-9_.-]+")
_MACHINES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386", "i686": "386"}
_NAMES = ("os", "architecture", "variant")


def platform_fields(text: str) -> dict[str, str]:
    """A platform as the API takes it in JSON; empty for an empty text.

    Raises:
        InvalidArgumentError: it is not OS[/ARCH[/VARIANT]].
    """
    parts = text.lower().split("/") if text else []
    if len(parts) > len(_NAMES) or any(not _PART.fullmatch(part) for part in parts):
        raise InvalidArgumentError(f"invalid platform {text!r}: write os[/arch[/variant]], such as linux/amd64")
    if len(parts) > 1:
        parts[1] = _MACHINES.get(parts[1], parts[1])
    return dict(sorted(zip(_NAMES, parts, strict=False)))


def platform_text(text: str) -> str:
    """A platform in the words of the API."""
    fields = platform_fields(text)
    return "/".join(fields[name] for name in _NAMES if name in fields)
