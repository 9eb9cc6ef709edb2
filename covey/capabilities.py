"""Linux capability lists in Docker's canonical form: upper case, with the prefix CAP_, without duplicates. Pure."""

from collections.abc import Iterable

ALL = "ALL"


def normal(name: str) -> str:
    """One capability name in canonical form."""
    name = name.strip().upper()
    return name if name == ALL or name.startswith("CAP_") else f"CAP_{name}"


def effective(add: Iterable[str], drop: Iterable[str]) -> tuple[list[str], list[str]]:
    """The sorted lists to add and to drop. ``ALL`` replaces all other names of a list; an added capability is not dropped."""
    added, dropped = {normal(name) for name in add}, {normal(name) for name in drop}
    if ALL in added:
        added = {ALL}
    if ALL in dropped:
        dropped = {ALL}
    return sorted(added), sorted(dropped - added)
