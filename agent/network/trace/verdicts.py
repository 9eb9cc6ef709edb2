"""What the rules of nftables do with a packet, decided from nft's JSON. Pure.

Invariant: in doubt a packet passes. A match that is not understood makes a drop not apply, and an acceptance apply.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec

from agent.network.trace.reading import RuleChain

MAX_JUMPS = 16
_FAMILIES = {"ip": (4,), "ip6": (6,), "inet": (4, 6)}
_STATEMENTS = frozenset({"counter", "log", "mangle", "comment"})
_STATES = frozenset({"new", "untracked"})


class Packet(msgspec.Struct, frozen=True, kw_only=True):
    """The first packet of a connection at one hook."""

    source: str = ""
    destination: str
    protocol: str
    port: int = 0
    input_device: str = ""
    output_device: str = ""
    translated: bool = False

    @property
    def family(self) -> int:
        return ip_address(self.destination).version

    def on(self, *, input_: str = "", output: str = "") -> Packet:
        """The packet with these devices."""
        return msgspec.structs.replace(self, input_device=input_, output_device=output)


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """A chain that drops the packet. `rule` is the rule in words, or the policy."""

    table: str
    chain: str
    rule: str

    @property
    def place(self) -> str:
        return f"{self.table} {self.chain}"


def find_drop(chains: Iterable[RuleChain], hook: str, packet: Packet, entered: Collection[str] = ()) -> Drop | None:
    """The chain at a hook that drops the packet, if one does. `entered` are chains that a map leads to at that hook."""
    tables: dict[str, dict[str, RuleChain]] = {}
    for chain in chains:
        tables.setdefault(chain.table, {})[chain.name] = chain
    bases = [
        one
        for table in tables.values()
        for one in table.values()
        if one.hook == hook or f"{one.table} {one.name}" in entered
    ]
    for base in sorted(bases, key=lambda one: one.priority):
        if packet.family not in _FAMILIES.get(base.table.partition(" ")[0], ()):
            continue
        found = _run(base, tables[base.table], packet, 0)
        if isinstance(found, Drop):
            return found
        if found is None and base.policy == "drop":
            return Drop(table=base.table, chain=base.name, rule="policy drop")
    return None


def _run(chain: RuleChain, table: Mapping[str, RuleChain], packet: Packet, depth: int) -> Drop | bool | None:
    """A drop, True if the packet is accepted, or None if the chain has no verdict."""
    for rule in chain.rules:
        matches: bool | None = True
        for statement in rule:
            kind, content = next(iter(statement.items()))
            if kind == "match":
                matches = _both(matches, _matches(content, packet))
            elif kind in {"drop", "reject"} and matches:
                return Drop(table=chain.table, chain=chain.name, rule=rule_text(rule))
            elif kind == "accept" and matches is not False:
                return True
            elif kind == "return" and matches is not False:
                return None
            elif kind in {"jump", "goto"} and matches and content["target"] in table and depth < MAX_JUMPS:
                found = _run(table[content["target"]], table, packet, depth + 1)
                if found is not None or kind == "goto":
                    return found
            elif kind not in _STATEMENTS:
                matches = _both(matches, None)
            if matches is False:
                break
    return None


def _both(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def _matches(match: Mapping[str, Any], packet: Packet) -> bool | None:
    """Whether a match applies; None if that is not known."""
    values = _values(match["left"], packet)
    if values is None:
        return None
    if match["op"] not in {"==", "!=", "in"}:
        return None
    found = _any(values, match["right"])
    return found if match["op"] != "!=" or found is None else not found


def _values(left: Any, packet: Packet) -> frozenset[str] | None:
    """What the packet has where the match looks; None if that is not known."""
    if not isinstance(left, dict):
        return None
    kind, content = next(iter(left.items()))
    if kind == "meta":
        values = {
            "l4proto": {packet.protocol, {"tcp": "6", "udp": "17", "sctp": "132"}.get(packet.protocol, "")},
            "iifname": {packet.input_device},
            "oifname": {packet.output_device},
            "iif": {packet.input_device},
            "oif": {packet.output_device},
            "nfproto": {f"ipv{packet.family}"},
        }.get(content["key"])
        return frozenset(values) if values is not None else None
    if kind == "ct":
        if content["key"] == "state":
            return _STATES
        return frozenset({"dnat" if packet.translated else ""}) if content["key"] == "status" else None
    if kind == "payload" and "field" in content:
        protocol, field = content["protocol"], content["field"]
        if protocol in {"ip", "ip6"}:
            if protocol != ("ip" if packet.family == 4 else "ip6"):
                return frozenset()
            value = {"daddr": packet.destination, "saddr": packet.source, "protocol": packet.protocol}.get(field)
            return frozenset({value}) if value else None
        if protocol in {"tcp", "udp", "sctp", "th"} and field == "dport":
            if protocol not in {packet.protocol, "th"}:
                return frozenset()
            return frozenset({str(packet.port)}) if packet.port else None
    return None


def _any(values: frozenset[str], right: Any) -> bool | None:
    if isinstance(right, dict) and "set" in right:
        return _any_of(values, right["set"])
    if isinstance(right, list):
        return _any_of(values, right)
    if isinstance(right, str) and right.startswith("@"):
        return None
    return any(_equal(value, right) for value in values)


def _any_of(values: frozenset[str], members: Any) -> bool:
    members = members if isinstance(members, list) else [members]
    return any(_equal(value, member) for value in values for member in members)


def _equal(value: str, member: Any) -> bool:
    if isinstance(member, dict):
        if prefix := member.get("prefix"):
            network = ip_network(f"{prefix['addr']}/{prefix['len']}", strict=False)
            return _is_in(value, network.with_prefixlen)
        if ends := member.get("range"):
            return _in_range(value, ends)
        return False
    text = str(member)
    if text.endswith("*"):
        return value.startswith(text[:-1])
    return value == text


def _is_in(value: str, network: str) -> bool:
    try:
        return ip_address(value) in ip_network(network)
    except ValueError:
        return False


def _in_range(value: str, ends: list[Any]) -> bool:
    if value.isdigit():
        return int(ends[0]) <= int(value) <= int(ends[1])
    try:
        first, last, address = (ip_address(str(one)) for one in (*ends, value))
    except ValueError:
        return False
    return first.version == address.version and int(first) <= int(address) <= int(last)


def rule_text(rule: list[dict[str, Any]]) -> str:
    """A rule in words, for people."""
    words: list[str] = []
    for statement in rule:
        kind, content = next(iter(statement.items()))
        if kind == "match":
            words.append(f"{_side(content['left'])} {content['op']} {_side(content['right'])}".replace(" == ", " "))
        elif kind in {"jump", "goto"}:
            words.append(f"{kind} {content['target']}")
        elif kind != "counter":
            words.append(kind)
    return " ".join(words)


def _side(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_side, value))
    if not isinstance(value, dict):
        return str(value)
    kind, content = next(iter(value.items()))
    if kind == "payload":
        return f"{content.get('protocol', '')} {content.get('field', '')}".strip()
    if kind in {"meta", "ct"}:
        return f"{kind} {content['key']}"
    if kind == "prefix":
        return f"{content['addr']}/{content['len']}"
    if kind == "set":
        return "{ " + ", ".join(map(_side, content if isinstance(content, list) else [content])) + " }"
    if kind == "range":
        return "-".join(map(str, content))
    return str(kind)
