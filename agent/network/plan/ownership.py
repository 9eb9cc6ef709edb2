"""Which of the items that the kernel holds are Covey's to compare and to remove. Pure.

Invariant: what nobody of Covey's made is never reported as stray, and so never removed.

A device that Covey makes carries the alias of its daemon. In the host's namespace, devices with that alias are ours, with everything
on them, tables by the daemon's prefix, and routes and rules by `ROUTE_PROTOCOL`. The sandbox of a network is ours altogether, once
anything is wanted in it. In a container's namespace only what is wanted is compared.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agent.network.namespace_state import HOST, ROUTE_PROTOCOL, Link, Route
from agent.network.plan.items import Item, Items, Value

MADE_KINDS = frozenset({"bridge", "veth", "vxlan", "macvlan", "ipvlan", "vlan", "dummy", "wireguard", "tun"})
_ALIAS = "covey "


def alias_of(prefix: str) -> str:
    """The alias of the devices of the daemon with this prefix."""
    return _ALIAS + prefix


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """All that was read of a namespace. `aliases` are those of its devices, `protocols` those of its routes and rules."""

    items: Items
    aliases: Mapping[str, str] = {}
    protocols: Mapping[Item, int] = {}


def owned(namespace: str, prefix: str, reading: Reading, wanted: Mapping[Item, Value]) -> Items:
    """The items that are compared with the wanted ones."""
    if namespace == HOST:
        return _of_host(prefix, reading, wanted)
    if namespace.startswith("network/") and wanted:
        return _of_sandbox(reading, wanted)
    return {item: value for item, value in reading.items.items() if item in wanted}


def may_remove(namespace: str, prefix: str, aliases: Mapping[str, str], device: str) -> bool:
    """Whether a device may be deleted: on the host only one that Covey made."""
    return namespace != HOST or aliases.get(device) == alias_of(prefix)


def is_our_table(prefix: str, table: str) -> bool:
    return table.partition(" ")[2].startswith(f"{prefix}-")


def _of_host(prefix: str, reading: Reading, wanted: Mapping[Item, Value]) -> Items:
    alias = alias_of(prefix)
    ours = {device for device, found in reading.aliases.items() if found == alias}
    ours |= {item[1] for item, value in wanted.items() if isinstance(value, Link) and value.kind}
    foreign = {device for device, found in reading.aliases.items() if found.startswith(_ALIAS) and found != alias}

    def is_ours(item: Item, value: Value) -> bool:
        kind = item[0]
        if kind in {"address", "neighbour", "fdb"}:
            return item[1] in ours
        if kind == "link":
            return reading.aliases.get(item[1]) == alias
        if kind in {"route", "rule"}:
            elsewhere = isinstance(value, Route) and value.device in foreign
            return reading.protocols.get(item) == ROUTE_PROTOCOL and not elsewhere
        return kind in {"table", "set", "chain", "element"} and is_our_table(prefix, item[1])

    return {item: value for item, value in reading.items.items() if item in wanted or is_ours(item, value)}


def _of_sandbox(reading: Reading, wanted: Mapping[Item, Value]) -> Items:
    def is_ours(item: Item, value: Value) -> bool:
        if isinstance(value, Link):
            return value.kind in MADE_KINDS
        return item[0] != "sysctl" and item[1] != "lo"

    return {item: value for item, value in reading.items.items() if item in wanted or is_ours(item, value)}
