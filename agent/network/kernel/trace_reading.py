"""Reads all that a trace needs of the calling thread's namespace: its whole state, foreign and altered rules, and listening sockets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from agent.network.kernel import entry_messages as entries
from agent.network.kernel import link_messages
from agent.network.kernel.netlink import NetlinkSocket
from agent.network.kernel.read import read_all
from agent.network.kernel.target import Target
from agent.network.namespace_state import HOST
from agent.network.nftables import NftablesContext
from agent.network.plan.diff import differences
from agent.network.plan.difference_text import difference_texts
from agent.network.plan.items import Item, Value, unflatten
from agent.network.plan.ownership import owned
from agent.network.trace.reading import NamespaceReading, RuleChain
from agent.network.trace.sockets import parse_listeners
from covey.errors import CoveyError

MAX_RULES = 2000
_FAMILIES = frozenset({"ip", "ip6", "inet"})
_SOCKETS = {"tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6")}
_ALWAYS = (("sysctl", "net/ipv4/ip_forward"), ("sysctl", "net/ipv6/conf/all/forwarding"))


def read_for_trace(target: Target, wanted: Mapping[Item, Value]) -> NamespaceReading:
    """The namespace as the kernel holds it, and how it differs from what is wanted."""
    interest: dict[Item, Value] = dict.fromkeys(_ALWAYS, "")
    interest.update(wanted)
    reading = read_all(target, interest, everything=True)
    found = owned(target.key, target.prefix, reading, wanted)
    altered = tuple(
        one for one in differences(target.key, wanted, found) if one.wanted is not None or one.item[0] == "chain"
    )
    changed = {(one.item[1], one.item[2]) for one in altered if one.item[0] == "chain"}
    ours = {item[1] for item in wanted if item[0] == "table"}
    return NamespaceReading(
        state=unflatten(reading.items),
        differences=difference_texts(altered[:1000]),
        chains=_chains(ours, changed),
        connected=_connected(),
        listeners=None if target.key == HOST else _listeners(),
    )


def _connected() -> frozenset[tuple[str, str]]:
    """The routes that the kernel made of addresses."""
    found: set[tuple[str, str]] = set()
    with NetlinkSocket() as netlink:
        links = link_messages.with_names(
            map(link_messages.parse_link, netlink.dump(link_messages.GET_LINK, link_messages.ALL_LINKS))
        )
        names = {link.index: name for name, link in links.items()}
        for family in (4, 6):
            for body in netlink.dump(entries.GET_ROUTE, entries.all_routes(family)):
                if route := entries.parse_connected(body, names):
                    found.add(route)
    return frozenset(found)


def _chains(ours: set[str], changed: set[tuple[str, str]]) -> tuple[RuleChain, ...]:
    """The chains of tables of others, and the altered ones of ours."""
    nftables = NftablesContext()
    found: list[RuleChain] = []
    left = MAX_RULES
    try:
        for table in _tables(nftables):
            if table in ours and not any(each == table for each, _ in changed):
                continue
            for chain in _of_table(table, nftables.list_json(f"list table {table}", terse=True)):
                if (table not in ours or (table, chain.name) in changed) and len(chain.rules) <= left:
                    left -= len(chain.rules)
                    found.append(chain)
    except CoveyError:  # a kernel without nftables has no rules
        return ()
    finally:
        nftables.close()
    return tuple(found)


def _tables(nftables: NftablesContext) -> list[str]:
    listed = msgspec.json.decode(nftables.list_json("list tables"))["nftables"]
    return [
        f"{one['table']['family']} {one['table']['name']}"
        for one in listed
        if "table" in one and one["table"]["family"] in _FAMILIES
    ]


def _of_table(table: str, listing: bytes) -> list[RuleChain]:
    heads: dict[str, dict[str, Any]] = {}
    rules: dict[str, list[list[dict[str, Any]]]] = {}
    for entry in msgspec.json.decode(listing)["nftables"]:
        if head := entry.get("chain"):
            heads[head["name"]] = head
        elif rule := entry.get("rule"):
            rules.setdefault(rule["chain"], []).append(rule["expr"])
    return [
        RuleChain(
            table=table,
            name=name,
            kind=head.get("type", ""),
            hook=head.get("hook", ""),
            priority=head.get("prio", 0),
            policy=head.get("policy", "accept"),
            rules=tuple(rules.get(name, ())),
        )
        for name, head in heads.items()
    ]


def _listeners() -> frozenset[str]:
    found: set[str] = set()
    for protocol, files in _SOCKETS.items():
        for name in files:
            try:
                found |= parse_listeners(protocol, Path(f"/proc/thread-self/net/{name}").read_text())
            except OSError:
                continue
    return frozenset(found)
