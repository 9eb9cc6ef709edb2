"""Volumes of a stack's service in short form: ``[SOURCE:]TARGET[:OPTIONS]``. Pure.

As the docker client does, a single letter before a colon is a Windows drive, and options that it does not know are ignored.
"""

from typing import Any

PROPAGATION = {"private", "rprivate", "shared", "rshared", "slave", "rslave"}


def parse_volume(text: str) -> dict[str, Any]:
    """The long form, with keys in the order of the output.

    Raises:
        ValueError: empty, an empty part, or too many parts.
    """
    parts = split_volume(text)
    if len(parts) == 1:
        return {"type": "volume", "target": parts[0]}
    source, target, *options = parts
    volume: dict[str, Any] = {"type": "bind" if is_path(source) else "volume", "source": source, "target": target}
    for option in options[0].split(",") if options else ():
        if option in ("ro", "rw"):
            volume["read_only"] = option == "ro"
        elif option == "nocopy":
            volume["volume"] = {"nocopy": True}
        elif option in PROPAGATION:
            volume["bind"] = {"propagation": option}
    return volume


def split_volume(text: str) -> list[str]:
    """Source, target and options of a short form, or the target alone.

    Raises:
        ValueError: empty, an empty part, or too many parts.
    """
    if not text:
        raise ValueError("invalid empty volume spec")
    if len(text) <= len("/a"):
        return [text]
    parts: list[str] = []
    buffer = ""
    for character in text:
        if character != ":" or (len(buffer) == 1 and buffer.isalpha()):
            buffer += character
            continue
        if not buffer:
            raise ValueError(f"invalid spec: {text}: empty section between colons")
        if len(parts) == 2:
            raise ValueError(f"invalid spec: {text}: too many colons")
        parts.append(buffer)
        buffer = ""
    if not buffer:
        raise ValueError(f"invalid spec: {text}: empty section between colons")
    if len(parts) == 3:
        raise ValueError(f"invalid spec: {text}: too many colons")
    return [*parts, buffer]


def is_path(source: str) -> bool:
    """Whether a source is a path and not the name of a volume."""
    if source[:1] in (".", "/", "~") or source.startswith("\\\\"):
        return True
    return len(source) > 1 and source[0].isalpha() and source[1] == ":"
