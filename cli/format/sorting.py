"""Natural sort order of names: web2 before web10. Pure."""

import re

_PARTS = re.compile(r"[0-9]+|[^0-9]", re.DOTALL)


def natural_sort_key(text: str) -> tuple[tuple[int, int, str, int], ...]:
    """A sort key in which runs of digits compare as numbers and sort before other characters."""
    return tuple(
        (0, len(part.lstrip("0")), part.lstrip("0"), len(part)) if part.isdigit() else (1, ord(part), "", 0)
        for part in _PARTS.findall(text)
    )
