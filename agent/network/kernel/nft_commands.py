"""nft commands that carry out the differences of a namespace's tables, for one transaction. Pure.

Order: what refers to others goes first and comes last. Elements may name chains, rules name sets and chains.
Chains come before maps, because nft sends the elements of an interval map together with the map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from agent.network.namespace_state import NftChain, NftSet
from agent.network.plan.diff import Difference, DifferenceKind
from agent.network.plan.items import Item, Value

_GROUP = 4096


class Command(NamedTuple):
    """One line, and the items that it carries out."""

    line: str
    items: tuple[Item, ...]


def with_dependents(differences: Iterable[Difference], wanted: Mapping[Item, Value]) -> tuple[Difference, ...]:
    """The differences, and the reloads that they imply: a set is replaced together with its elements and all chains of its table."""
    found = {one.item: one for one in differences}
    replaced = [one for one in found.values() if one.item[0] == "set" and one.kind is DifferenceKind.ALTERED]
    tables = {one.item[1] for one in replaced}
    sets = {one.item[1:3] for one in replaced}
    if not tables:
        return tuple(found.values())
    namespace = replaced[0].namespace
    for item, value in wanted.items():
        if item[0] == "chain" and item[1] in tables and item not in found:
            found[item] = Difference(namespace, DifferenceKind.ALTERED, item, value, value)
        elif item[0] == "element" and item[1:3] in sets:
            found[item] = Difference(namespace, DifferenceKind.MISSING, item, value, None)
    return tuple(found.values())


def commands(differences: Sequence[Difference], *, grouped: bool = True) -> list[Command]:
    """The commands in order. `grouped` puts many elements on a line; without it every line concerns one item."""
    by_kind: dict[str, list[Difference]] = {kind: [] for kind in ("table", "chain", "set", "element")}
    for one in differences:
        by_kind[one.item[0]].append(one)
    gone = {one.item[1] for one in by_kind["table"] if one.wanted is None}
    replaced = {one.item[1:3] for one in by_kind["set"] if one.found is not None}
    chains = [one for one in by_kind["chain"] if one.item[1] not in gone]
    sets = [one for one in by_kind["set"] if one.item[1] not in gone]
    elements = [one for one in by_kind["element"] if one.item[1] not in gone]
    old = [one for one in elements if one.found is not None and one.item[1:3] not in replaced]
    size = _GROUP if grouped else 1
    return [
        *_elements("delete", old, size),
        *(_command(f"flush chain {_name(one)}", one) for one in chains if one.found is not None),
        *(_command(f"delete {_set_kind(one.found)} {_name(one)}", one) for one in sets if one.found is not None),
        *(_command(f"delete chain {_name(one)}", one) for one in chains if _is_remade(one)),
        *(Command(f"delete table {table}", (("table", table),)) for table in sorted(gone)),
        *(_command(f"add table {one.item[1]}", one) for one in by_kind["table"] if one.wanted is not None),
        *(_add_chain(one) for one in chains if isinstance(one.wanted, NftChain)),
        *(_add_set(one) for one in sets if isinstance(one.wanted, NftSet)),
        *_elements("add", [one for one in elements if one.wanted is not None], size),
        *(command for one in chains for command in _rules(one)),
    ]


def _is_remade(one: Difference) -> bool:
    """Whether the chain is deleted: nobody wants it, or its head differs, which cannot be changed."""
    if one.found is None:
        return False
    return not (
        isinstance(one.wanted, NftChain) and isinstance(one.found, NftChain) and one.wanted.hook == one.found.hook
    )


def _command(line: str, one: Difference) -> Command:
    return Command(line, (one.item,))


def _name(one: Difference) -> str:
    return f"{one.item[1]} {one.item[2]}"


def _set_kind(value: Value | None) -> str:
    return "map" if isinstance(value, NftSet) and value.is_map else "set"


def _add_set(one: Difference) -> Command:
    head = one.wanted.head.strip() if isinstance(one.wanted, NftSet) else ""
    return _command(f"add {_set_kind(one.wanted)} {_name(one)} {{ {head.rstrip(';')}; }}", one)


def _add_chain(one: Difference) -> Command:
    hook = one.wanted.hook.strip() if isinstance(one.wanted, NftChain) else ""
    return _command(f"add chain {_name(one)}" + (f" {{ {hook.rstrip(';')}; }}" if hook else ""), one)


def _rules(one: Difference) -> Iterator[Command]:
    if isinstance(one.wanted, NftChain):
        for rule in one.wanted.rules:
            yield _command(f"add rule {_name(one)} {rule}", one)


def _elements(verb: str, differences: Sequence[Difference], size: int) -> Iterator[Command]:
    ordered = sorted(differences, key=lambda one: one.item[1:3])
    for (table, name), members in groupby(ordered, key=lambda one: one.item[1:3]):
        batch = list(members)
        for start in range(0, len(batch), size):
            part = batch[start : start + size]
            listed = ", ".join(
                f"{one.item[3]} : {one.wanted}" if verb == "add" and one.wanted else one.item[3] for one in part
            )
            yield Command(f"{verb} element {table} {name} {{ {listed} }}", tuple(one.item for one in part))
