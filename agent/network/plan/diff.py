"""Differences between two states of a namespace, and the union of fragments. Pure.

Invariant: `differences` of equal states is empty, and carrying all of them out turns the found state into the wanted one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum

import msgspec

from agent.network.namespace_state import Fragment, Link, NamespaceState, Route
from agent.network.plan.items import Item, Items, Value, describe, flatten, item_order, unflatten
from covey.errors import ConflictError


class DifferenceKind(StrEnum):
    """What is wrong with an item of the kernel: it is wanted and not there, it is not as wanted, or nobody wants it."""

    MISSING = "missing"
    ALTERED = "altered"
    STRAY = "stray"


class Difference(msgspec.Struct, frozen=True):
    """An item that the kernel does not hold as wanted. `wanted` is None for a stray item, `found` for a missing one."""

    namespace: str
    kind: DifferenceKind
    item: Item
    wanted: Value | None = None
    found: Value | None = None


def differences(
    namespace: str, wanted: Mapping[Item, Value], found: Mapping[Item, Value], *, only: Collection[Item] | None = None
) -> tuple[Difference, ...]:
    """The differences in the order in which they are carried out: removals first, then alterations and additions.

    `only` restricts the comparison to these items; the cost follows their number, not that of the states.
    """
    items: Iterable[Item] = wanted.keys() | found.keys() if only is None else only
    gone: list[Difference] = []
    come: list[Difference] = []
    for item in items:
        want, have = wanted.get(item), found.get(item)
        if want is None:
            if have is not None:
                gone.append(Difference(namespace, DifferenceKind.STRAY, item, None, have))
        elif have is None:
            come.append(Difference(namespace, DifferenceKind.MISSING, item, want, None))
        elif not satisfies(have, want):
            come.append(Difference(namespace, DifferenceKind.ALTERED, item, want, have))
    gone.sort(key=lambda one: item_order(one.item), reverse=True)
    come.sort(key=lambda one: item_order(one.item))
    return (*gone, *come)


def difference(namespace: str, wanted: NamespaceState, found: NamespaceState) -> tuple[Difference, ...]:
    """The differences of two states, in the order in which they are carried out."""
    return differences(namespace, flatten(wanted), flatten(found))


def satisfies(found: Value, wanted: Value) -> bool:
    """Whether an item is as wanted. Fields of a link that are empty in `wanted` are left to the kernel, and so is a route's device."""
    if isinstance(wanted, Link):
        return isinstance(found, Link) and not link_changes(wanted, found)
    if isinstance(wanted, Route) and isinstance(found, Route) and not wanted.device:
        return msgspec.structs.replace(found, device="") == wanted
    return found == wanted


def link_changes(wanted: Link, found: Link) -> frozenset[str]:
    """The fields of a link that are not as wanted. `peer` and `made_in` say how it is made and are not compared."""
    changed: set[str] = set()
    if wanted.up != found.up:
        changed.add("up")
    if wanted.mac and wanted.mac.lower() != found.mac:
        changed.add("mac")
    if wanted.mtu and wanted.mtu != found.mtu:
        changed.add("mtu")
    if not wanted.kind:  # a device of others, of which only the flags are ours
        return frozenset(changed)
    if wanted.kind != found.kind:
        changed.add("kind")
    if wanted.master != found.master:
        changed.add("master")
    if wanted.parent and wanted.parent != found.parent:
        changed.add("parent")
    if _unlike(wanted.options, found.options):
        changed.add("options")
    if _unlike(wanted.port_options, found.port_options):
        changed.add("port_options")
    return frozenset(changed)


def _unlike(wanted: Mapping[str, int | str], found: Mapping[str, int | str]) -> bool:
    return any(found.get(name) != value for name, value in wanted.items())


def merge(fragments: Mapping[str, Fragment]) -> dict[str, NamespaceState]:
    """The union of fragments, by namespace. Raises ConflictError when two of them want different things of one item."""
    merged: dict[str, Items] = {}
    owners: dict[tuple[str, Item], str] = {}
    for key in sorted(fragments):
        for namespace, state in fragments[key].items():
            into = merged.setdefault(namespace, {})
            for item, value in flatten(state).items():
                if into.setdefault(item, value) != value:
                    raise conflict(namespace, item, key, (owners[namespace, item],))
                owners.setdefault((namespace, item), key)
    return {namespace: unflatten(items) for namespace, items in merged.items()}


def conflict(namespace: str, item: Item, key: str, owners: Iterable[str]) -> ConflictError:
    return ConflictError(
        f"{key} and {', '.join(owners)} want different things of the {describe(item)} in namespace {namespace}: "
        "remove or change one of them"
    )
