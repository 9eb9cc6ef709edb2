"""Items of a namespace state: its parts as one flat mapping, in normal form. Pure.

Two states are compared, counted and changed item by item, so each item has an identity and a value:

    ("link", NAME)                                  Link
    ("address", DEVICE, "ADDRESS/PREFIX")           ""
    ("route", FAMILY, TABLE, DESTINATION, METRIC)   Route
    ("rule", FAMILY, PRIORITY, TABLE, ...)          PolicyRule
    ("neighbour", DEVICE, ADDRESS)                  its MAC
    ("fdb", DEVICE, MAC, WHERE)                     the host; WHERE is "port", "tunnel", or the host in a replication list
    ("sysctl", PATH)                                its value
    ("table", TABLE)                                ""
    ("chain", TABLE, NAME)                          NftChain
    ("set", TABLE, NAME)                            NftSet without its elements
    ("element", TABLE, SET, KEY)                    its value

Invariant: `unflatten(flatten(state))` is the state in normal form.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_interface, ip_network
from typing import TypeAlias, TypeVar

import msgspec

from agent.network.namespace_state import (
    FdbEntry,
    Link,
    NamespaceState,
    Neighbour,
    NftChain,
    NftSet,
    NftTable,
    PolicyRule,
    Route,
)
from covey.errors import InvalidArgumentError

N = TypeVar("N", NftChain, NftSet)
Item: TypeAlias = tuple[str, ...]
Value: TypeAlias = Link | Route | PolicyRule | NftChain | NftSet | str
Items: TypeAlias = dict[Item, Value]

KINDS = ("sysctl", "table", "set", "chain", "element", "link", "address", "fdb", "neighbour", "route", "rule")
"""The kinds of items in the order in which they are added. They are removed in the opposite order."""
_RANKS = {kind: rank for rank, kind in enumerate(KINDS)}
DEVICE_KINDS = frozenset({"link", "address", "fdb", "neighbour"})
"""The kinds whose second part is a device."""
NFT_KINDS = frozenset({"table", "set", "chain", "element"})

REPLICATION_MAC = "00:00:00:00:00:00"
_IPV6_DEFAULT_METRIC = 1024
_ALL_BITS = 0xFFFFFFFF
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")


def flatten(state: NamespaceState) -> Items:
    """The items of a state. Raises InvalidArgumentError for an address that is none, and for two values of one item."""
    items: Items = {}
    try:
        for item, value in _items(state):
            if items.setdefault(item, value) != value:
                raise InvalidArgumentError(f"the state of a network namespace has two values of its {describe(item)}")
    except ValueError as error:
        raise InvalidArgumentError(f"the state of a network namespace is invalid: {error}") from error
    return items


def unflatten(items: Mapping[Item, Value]) -> NamespaceState:
    """The state that consists of these items."""
    by_kind: dict[str, dict[Item, Value]] = {kind: {} for kind in KINDS}
    for item, value in items.items():
        by_kind[item[0]][item] = value
    return NamespaceState(
        links={item[1]: value for item, value in by_kind["link"].items() if isinstance(value, Link)},
        addresses=frozenset((item[1], item[2]) for item in by_kind["address"]),
        routes=frozenset(value for value in by_kind["route"].values() if isinstance(value, Route)),
        rules=frozenset(value for value in by_kind["rule"].values() if isinstance(value, PolicyRule)),
        neighbours=frozenset(Neighbour(item[1], item[2], str(mac)) for item, mac in by_kind["neighbour"].items()),
        fdb=frozenset(FdbEntry(item[1], item[2], str(host)) for item, host in by_kind["fdb"].items()),
        sysctls={item[1]: str(value) for item, value in by_kind["sysctl"].items()},
        tables=_tables(by_kind),
    )


def item_order(item: Item) -> tuple[int, Item]:
    """The sort key by which items are added: a sysctl before links, a link before its addresses, a set before its elements."""
    return _RANKS[item[0]], item


def device_of(item: Item, value: Value | None) -> str:
    """The device that the item vanishes with, or empty."""
    if item[0] in DEVICE_KINDS:
        return item[1]
    return value.device if isinstance(value, Route) else ""


def describe(item: Item) -> str:
    """The item in words, for errors and listings: `route 10.0.1.0/24 in table 254`."""
    kind = item[0]
    if kind == "address":
        return f"address {item[2]} of {item[1]}"
    if kind == "route":
        return f"IPv{item[1]} route {item[3]} in table {item[2]}"
    if kind == "rule":
        return f"IPv{item[1]} rule {int(item[2])} to {item[3]}"
    if kind == "neighbour":
        return f"neighbour {item[2]} of {item[1]}"
    if kind == "fdb":
        where = "" if item[3] in {"port", "tunnel"} else f" to {item[3]}"
        return f"forwarding entry {item[2]}{where} of {item[1]}"
    if kind == "element":
        return f"element {item[3]} of {item[1]} {item[2]}"
    if kind == "link":
        return f"device {item[1]}"
    return f"{kind} {' '.join(item[1:])}"


def _items(state: NamespaceState) -> Iterator[tuple[Item, Value]]:
    for path, value in state.sysctls.items():
        yield ("sysctl", path), " ".join(value.split())
    for name, link in state.links.items():
        yield ("link", name), link if link.mac.islower() or not link.mac else _with_lower_mac(link)
    for device, address in state.addresses:
        yield ("address", device, normal_interface(address)), ""
    for route in state.routes:
        yield route_item(route)
    for rule in state.rules:
        yield rule_item(rule)
    for entry in state.neighbours:
        yield ("neighbour", entry.device, normal_address(entry.address)), entry.mac.lower()
    for forwarding in state.fdb:
        yield fdb_item(forwarding)
    for name, table in state.tables.items():
        yield from _table_items(name, table)


def _with_lower_mac(link: Link) -> Link:
    return msgspec.structs.replace(link, mac=link.mac.lower())


def _table_items(name: str, table: NftTable) -> Iterator[tuple[Item, Value]]:
    yield ("table", name), ""
    for chain_name, chain in table.chains.items():
        yield ("chain", name, chain_name), chain
    for set_name, content in table.sets.items():
        yield ("set", name, set_name), NftSet(head=content.head, is_map=content.is_map)
        for key, value in content.elements.items():
            yield ("element", name, set_name, normal_element(key)), normal_element(value)


def route_item(route: Route) -> tuple[Item, Route]:
    destination = route.destination
    family = route.family
    if destination in {"0.0.0.0/0", "::/0"}:
        family = 6 if ":" in destination else 4
        destination = "default"
    elif destination != "default":
        destination = normal_network(destination)
        family = 6 if ":" in destination else 4
    metric = route.metric or (_IPV6_DEFAULT_METRIC if family == 6 else 0)
    normal = msgspec.structs.replace(
        route,
        destination=destination,
        family=family,
        metric=metric,
        gateway=normal_address(route.gateway),
        source=normal_address(route.source),
    )
    return ("route", str(family), str(route.table), destination, str(metric)), normal


def rule_item(rule: PolicyRule) -> tuple[Item, PolicyRule]:
    source = normal_network(rule.source) if rule.source else ""
    family = (6 if ":" in source else 4) if source else rule.family
    mask = rule.mask or (_ALL_BITS if rule.mark else 0)
    normal = msgspec.structs.replace(rule, source=source, family=family, mask=mask)
    target = f"rule {rule.goto}" if rule.goto else f"table {rule.table}"
    identity = (str(family), f"{rule.priority:05}", target, f"{rule.mark}/{mask}", rule.input_device, source)
    return ("rule", *identity), normal


def fdb_item(entry: FdbEntry) -> tuple[Item, str]:
    mac, host = entry.mac.lower(), normal_address(entry.host)
    where = host if mac == REPLICATION_MAC else "tunnel" if host else "port"
    return ("fdb", entry.device, mac, where), host


@functools.lru_cache(maxsize=8192)
def normal_interface(text: str) -> str:
    return str(ip_interface(text))


@functools.lru_cache(maxsize=8192)
def normal_address(text: str) -> str:
    return str(ip_address(text)) if text else ""


@functools.lru_cache(maxsize=8192)
def normal_network(text: str) -> str:
    return str(ip_network(text))


def normal_element(text: str) -> str:
    """A key or value of a set in normal form: single blanks, decimal numbers, IPv6 addresses and MACs in their short lower form."""
    if not text or ("0x" not in text and "  " not in text and text.count(":") < 2):
        return text
    return " . ".join(_normal_part(" ".join(part.split())) for part in text.split(" . "))


def _normal_part(part: str) -> str:
    if _HEX.match(part):
        return str(int(part, 16))
    if part.count(":") < 2 or part.startswith('"'):
        return part
    try:
        return str(ip_address(part)) if "/" not in part else str(ip_network(part, strict=False))
    except ValueError:
        return part.lower()


def _tables(by_kind: Mapping[str, Mapping[Item, Value]]) -> dict[str, NftTable]:
    elements: dict[tuple[str, str], dict[str, str]] = {}
    for item, value in by_kind["element"].items():
        elements.setdefault((item[1], item[2]), {})[item[3]] = str(value)
    return {
        name: NftTable(
            chains=dict(_named(by_kind["chain"], name, NftChain)),
            sets={
                set_name: msgspec.structs.replace(head, elements=elements.get((name, set_name), {}))
                for set_name, head in _named(by_kind["set"], name, NftSet)
            },
        )
        for (_, name) in by_kind["table"]
    }


def _named(items: Mapping[Item, Value], table: str, kind: type[N]) -> Iterator[tuple[str, N]]:
    return ((item[2], value) for item, value in items.items() if item[1] == table and isinstance(value, kind))
