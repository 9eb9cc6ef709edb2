"""Reads the state of the calling thread's namespace.

Invariant: it changes nothing. Entries that the kernel makes by itself (link-local addresses, routes of addresses, learnt neighbours) are
left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agent.network.kernel import entry_messages as entries
from agent.network.kernel import link_messages
from agent.network.kernel.elsewhere import device_name
from agent.network.kernel.link_messages import FoundLink
from agent.network.kernel.netlink import NetlinkSocket
from agent.network.kernel.nft_tables import NftTables
from agent.network.kernel.sysctls import read_sysctls
from agent.network.kernel.target import Target
from agent.network.namespace_state import HOST, Link, NamespaceState
from agent.network.plan.items import NFT_KINDS, Item, Items, Value, unflatten
from agent.network.plan.ownership import Reading, is_our_table, owned

_NETWORK = "network/"


def read_items(target: Target, wanted: Mapping[Item, Value]) -> tuple[Items, Mapping[str, str]]:
    """The items of the namespace that are Covey's or wanted, and the aliases of its devices."""
    reading = read_all(target, wanted)
    return owned(target.key, target.prefix, reading, wanted), reading.aliases


def read_state(target: Target, wanted: Mapping[Item, Value]) -> NamespaceState:
    """The state of the namespace, as far as it is Covey's or wanted."""
    return unflatten(read_items(target, wanted)[0])


def read_all(target: Target, wanted: Mapping[Item, Value], *, everything: bool = False) -> Reading:
    """All items of the namespace. Of kinds that are not wanted in a container's namespace nothing is read, unless `everything` is."""
    everything = everything or target.key == HOST or target.key.startswith(_NETWORK)
    kinds = {item[0] for item in wanted}
    items: Items = {}
    protocols: dict[Item, int] = {}
    with NetlinkSocket() as netlink:
        devices = _read_links(target, netlink, wanted)
        names = {found.index: name for name, found in devices.items()}
        items |= {("link", name): found.link for name, found in devices.items()}
        if everything or "address" in kinds:
            for body in netlink.dump(entries.GET_ADDRESS, entries.ALL_ADDRESSES):
                address = entries.parse_address(body, names)
                if address and (address[0] in wanted or not address[1]):
                    items[address[0]] = ""
        if everything or "route" in kinds:
            for family in (4, 6):
                for body in netlink.dump(entries.GET_ROUTE, entries.all_routes(family)):
                    if route := entries.parse_route(body, names):
                        items[route[0]], protocols[route[0]] = route[1], route[2]
        if everything or "rule" in kinds:
            for body in netlink.dump(entries.GET_RULE, entries.ALL_RULES):
                if rule := entries.parse_rule(body):
                    items[rule[0]], protocols[rule[0]] = rule[1], rule[2]
        if everything or "neighbour" in kinds:
            for family in (4, 6):
                for body in netlink.dump(entries.GET_NEIGHBOUR, entries.all_neighbours(family)):
                    if neighbour := entries.parse_neighbour(body, names):
                        items[neighbour[0]] = neighbour[1]
        if everything or "fdb" in kinds:
            for body in netlink.dump(entries.GET_NEIGHBOUR, entries.all_neighbours(7)):
                if forwarding := entries.parse_forwarding(body, names):
                    items[forwarding[0]] = forwarding[1]
    items |= {("sysctl", path): value for path, value in read_sysctls(i[1] for i in wanted if i[0] == "sysctl").items()}
    if everything or kinds & NFT_KINDS:
        with NftTables(target.scratch) as tables:
            items |= tables.read(lambda name: everything and _is_ours(target, name), wanted)
    items = {item: value for item, value in items.items() if not _is_default_rule(item, protocols)}
    return Reading(items=items, aliases={name: found.alias for name, found in devices.items()}, protocols=protocols)


def _is_ours(target: Target, table: str) -> bool:
    return target.key != HOST or is_our_table(target.prefix, table)


def _is_default_rule(item: Item, protocols: Mapping[Item, int]) -> bool:
    """The rules that every namespace begins with: made by the kernel (protocol 2)."""
    return item[0] == "rule" and protocols.get(item) == 2


def _read_links(target: Target, netlink: NetlinkSocket, wanted: Mapping[Item, Value]) -> dict[str, FoundLink]:
    devices = link_messages.with_names(
        map(link_messages.parse_link, netlink.dump(link_messages.GET_LINK, link_messages.ALL_LINKS))
    )
    for item, value in wanted.items():
        if isinstance(value, Link) and value.parent and value.made_in not in {"", target.key} and item[1] in devices:
            found = devices[item[1]]
            if found.below_elsewhere:
                parent = _name_elsewhere(target, value.made_in, found.below)
                devices[item[1]] = msgspec.structs.replace(
                    found, link=msgspec.structs.replace(found.link, parent=parent)
                )
    return devices


def _name_elsewhere(target: Target, key: str, index: int) -> str:
    """The name of the device with an index in another namespace, or empty."""
    other = target.other(key)
    return device_name(target, other, index) if other is not None else ""
