"""Differences in words, for people: what is wrong with which item, what it should be and what it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from agent.network.namespace_state import Link, NftChain, NftSet, PolicyRule, Route
from agent.network.plan.diff import Difference, link_changes
from agent.network.plan.items import Value, describe

_ROUTE_FIELDS = ("kind", "gateway", "device", "source", "mtu", "onlink")


class DifferenceText(msgspec.Struct, frozen=True):
    """A difference in words. `kind` is missing, altered or stray; `wanted` and `found` are empty where there is nothing."""

    namespace: str
    kind: str
    item: str
    wanted: str
    found: str


def difference_texts(differences: Iterable[Difference]) -> tuple[DifferenceText, ...]:
    """The differences in words, in the same order."""
    return tuple(_text(one) for one in differences)


def _text(one: Difference) -> DifferenceText:
    wanted, found = one.wanted, one.found
    if isinstance(wanted, Link) and isinstance(found, Link):
        fields = sorted(link_changes(wanted, found))
        return _difference(one, _fields(wanted, fields), _fields(found, fields, like=wanted))
    return _difference(one, _value(wanted), _value(found))


def _difference(one: Difference, wanted: str, found: str) -> DifferenceText:
    return DifferenceText(one.namespace, one.kind.value, describe(one.item), wanted, found)


def _value(value: Value | None) -> str:
    if value is None:
        return ""
    if isinstance(value, Link):
        return _fields(value, [name for name in ("kind", "mac", "mtu", "master", "parent") if getattr(value, name)])
    if isinstance(value, NftChain):
        return "; ".join(part.rstrip(";") for part in (value.hook, *value.rules) if part) or "no rules"
    if isinstance(value, NftSet):
        return value.head
    if isinstance(value, PolicyRule):
        return f"goto {value.goto}" if value.goto else f"lookup {value.table}"
    if isinstance(value, Route):
        shown = {name: getattr(value, name) for name in _ROUTE_FIELDS}
        return " ".join(f"{name} {field}" for name, field in shown.items() if field and field != "unicast")
    return value


def _fields(link: Link, names: Iterable[str], like: Link | None = None) -> str:
    """Fields of a link. Of its options only those that `like` has, if it is given."""
    words: list[str] = []
    for name in names:
        value = getattr(link, name)
        if name in {"options", "port_options"}:
            shown = getattr(like or link, name)
            words += [f"{option} {value.get(option, 'unset')}" for option in sorted(shown)]
        elif name == "up":
            words.append("up" if value else "down")
        else:
            words.append(f"{name} {value or 'none'}")
    return ", ".join(words)
