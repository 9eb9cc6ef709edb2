"""Claims of generic resources: which of a node's a task gets. Pure.

Invariant: a name is held by one task at a time, and the numbers of a kind never exceed what the node has.
"""

from __future__ import annotations

from collections.abc import Mapping

from covey.generic_resources import kind_of
from covey.objects import Resources, replace


def claim(
    wanted: Resources, available: Resources, used_numbers: Mapping[str, int], used_names: Mapping[str, int]
) -> Resources | None:
    """What a task gets of a node that has ``available`` and gave ``used_…`` away; None if that is not enough.

    A wish for a number of a kind that has names on the node gets as many names, the first free ones.
    """
    named: list[str] = []
    for item in wanted.named_generic:
        if item not in available.named_generic or item in used_names or item in named:
            return None
        named.append(item)
    numbers: dict[str, int] = {}
    for kind, number in wanted.generic.items():
        names = [item for item in available.named_generic if kind_of(item) == kind]
        used = used_numbers.get(kind, 0)  # of a kind with names: by tasks from before it had them
        free = [item for item in names if item not in used_names and item not in named]
        if number > (len(free) if names else available.generic.get(kind, 0)) - used:
            return None
        if names:
            named += free[:number]
        elif number:
            numbers[kind] = number
    return Resources(generic=numbers, named_generic=tuple(named))


def wants_any(wanted: Resources) -> bool:
    return bool(wanted.generic or wanted.named_generic)


def held(reserved: Resources, claimed: Resources | None) -> Resources:
    """A reservation with the claim in the place of the wish for generic resources."""
    if claimed is None:
        return reserved
    return replace(reserved, generic=claimed.generic, named_generic=claimed.named_generic)
