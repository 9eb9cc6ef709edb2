"""The JSON listing of an nftables table, parsed: its chains and sets by digest, and the elements of its sets. Pure.

The kernel prints rules in other words than those they were loaded from, so chains and heads of sets are compared by a digest of the
listing, without handles, names and counters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

import msgspec

from agent.network.plan.items import normal_element

_STRINGS = frozenset({"ifname"})
_NOT_HEAD = frozenset({"family", "name", "table", "handle", "elem"})


class ListedChain(msgspec.Struct, frozen=True):
    """`hook` is a base chain's head in nft's language, with numbers for priorities."""

    hook: str
    digest: bytes


class ListedSet(msgspec.Struct, frozen=True):
    is_map: bool
    digest: bytes
    elements: Mapping[str, str]


class ListedTable(msgspec.Struct, frozen=True):
    chains: Mapping[str, ListedChain]
    sets: Mapping[str, ListedSet]


def parse_tables(listing: bytes) -> frozenset[str]:
    """The tables in the output of `list tables`, as `FAMILY NAME`."""
    found = msgspec.json.decode(listing)["nftables"]
    return frozenset(f"{one['table']['family']} {one['table']['name']}" for one in found if "table" in one)


def parse_table(listing: bytes) -> ListedTable:
    """The output of `list table FAMILY NAME`."""
    heads: dict[str, Any] = {}
    rules: dict[str, list[Any]] = {}
    sets: dict[str, ListedSet] = {}
    for entry in msgspec.json.decode(listing)["nftables"]:
        if chain := entry.get("chain"):
            heads[chain["name"]] = chain
        elif rule := entry.get("rule"):
            rules.setdefault(rule["chain"], []).append(_without_counters([rule.get("comment"), rule["expr"]]))
        elif found := entry.get("set") or entry.get("map"):
            sets[found["name"]] = _set(found, is_map="map" in entry)
    chains = {name: _chain(head, rules.get(name, [])) for name, head in heads.items()}
    return ListedTable(chains, sets)


def _chain(head: Mapping[str, Any], rules: list[Any]) -> ListedChain:
    hook = ""
    if "hook" in head:
        device = f' device "{head["dev"]}"' if isinstance(head.get("dev"), str) else ""
        hook = f"type {head['type']} hook {head['hook']}{device} priority {head['prio']}; policy {head['policy']};"
    return ListedChain(hook, _digest([hook, rules]))


def _set(found: Mapping[str, Any], *, is_map: bool) -> ListedSet:
    types = found["type"] if isinstance(found["type"], list) else [found["type"]]
    values = str(found.get("map", "")).split(" . ")
    elements: dict[str, str] = {}
    # Elements that the kernel forgets by itself are nobody's wish.
    for element in () if "timeout" in found.get("flags", ()) else found.get("elem", ()):
        key, value = element if is_map else (element, None)
        elements[_text(key, types)] = "" if value is None else _text(value, values)
    return ListedSet(is_map, _digest({name: value for name, value in found.items() if name not in _NOT_HEAD}), elements)


def _text(value: Any, types: list[str]) -> str:
    """A key or value in nft's language, in its normal form."""
    if not isinstance(value, dict):
        return f'"{value}"' if types[0] in _STRINGS else normal_element(str(value))
    ((kind, content),) = list(value.items())[:1]
    if kind == "concat":
        parts = types if len(types) == len(content) else [""] * len(content)
        return " . ".join(_text(part, [of]) for part, of in zip(content, parts, strict=True))
    if kind == "elem":
        return _text(content["val"], types)
    if kind == "prefix":
        return str(ip_network(f"{content['addr']}/{content['len']}"))
    if kind == "range":
        return "-".join(_text(end, types) for end in content)
    if kind in {"jump", "goto"}:
        return f"{kind} {content['target']}"
    return str(kind)


def _without_counters(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_counters(one) for one in value]
    if isinstance(value, dict):
        return {name: None if name == "counter" else _without_counters(one) for name, one in value.items()}
    return value


def _digest(value: object) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(value, order="sorted"), digest_size=16).digest()
