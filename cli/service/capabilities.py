"""Capabilities as Docker writes them: upper case, with CAP_, each once; one that is added is not dropped. Pure."""

from collections.abc import Iterable

ALL = "ALL"


def normal(name: str) -> str:
    name = name.strip().upper()
    return name if name == ALL or name.startswith("CAP_") else f"CAP_{name}"


def effective(add: Iterable[str], drop: Iterable[str]) -> tuple[list[str], list[str]]:
    """The sorted lists; adding ALL makes every other addition needless, and so for dropping."""
    added, dropped = {normal(name) for name in add}, {normal(name) for name in drop}
    if ALL in added:
        added = {ALL}
    if ALL in dropped:
        dropped = {ALL}
    return sorted(added), sorted(dropped - added)
