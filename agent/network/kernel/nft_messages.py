"""Messages of nf_tables for what changes most: the chains of VIPs, which translate to backends in turns, and their elements of maps. Pure.

libnftables lists all chains and sets of the namespace before each transaction with rules or elements, which takes milliseconds among a
thousand services. These messages are the same that it sends then, so what the kernel lists is the same.

Layouts: linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h; the user data of sets is that of libnftnl (`udata.h`).
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator, Sequence
from itertools import count

from agent.network.kernel.netlink import ACK, APPEND, CREATE, REQUEST, attribute, message, nested, text
from agent.network.namespace_state import NftChain
from agent.network.plan.diff import Difference

_SUBSYSTEM = 10 << 8
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEW_CHAIN, _NEW_RULE, _DELETE_RULE, _NEW_SET, _NEW_ELEMENTS = (_SUBSYSTEM | kind for kind in (3, 6, 8, 9, 12))
_INET = 1
_BALANCE = re.compile(r"dnat (ip6?) to numgen inc mod (\d+) map \{ ([^{}]+) \}\Z")
_VERDICT = re.compile(r"jump (\S+)\Z")
_MAX_SLOTS = 1_000
"""An attribute has at most 64 KiB."""
_ELEMENTS_AT_ONCE = 500
_JUMP = -3 & 0xFFFFFFFF
_ANONYMOUS_MAP = 0x1 | 0x2 | 0x8
_INTEGER = 4
_MAP_NAME = "__map%d"
"""The kernel puts a free number in."""
_USER_DATA = bytes.fromhex("000401000000010402000000060400000000")
"""Keys in the host's order of bytes, addresses in the network's; no intervals."""


def pack(differences: Sequence[Difference]) -> bytes | None:
    """A transaction that carries out these differences, None if any of them is of another kind. Only the last change is acknowledged."""
    chains, elements = [], []
    for one in differences:
        if not one.item[1].startswith("inet "):
            return None
        if one.item[0] == "chain" and (rule := _balance(one)) is not None:
            chains.append((one, rule))
        elif one.item[0] == "element" and (element := _element(one)) is not None:
            elements.append((one.item[1], one.item[2], element))
        else:
            return None
    changes = [
        _message(_NEW_CHAIN, CREATE, one.item[1], text(3, one.item[2])) for one, _ in chains if one.found is None
    ]
    for table, name in dict.fromkeys((table, name) for table, name, _ in elements):
        held = [element for one, other, element in elements if (one, other) == (table, name)]
        for start in range(0, len(held), _ELEMENTS_AT_ONCE):
            part = held[start : start + _ELEMENTS_AT_ONCE]
            changes.append(_message(_NEW_ELEMENTS, CREATE, table, text(2, name), nested(3, *part)))
    numbers = count(1)
    for one, (family, addresses) in chains:
        changes += _rule(one, family, addresses, next(numbers))
    if not changes:
        return None
    kind, flags = struct.unpack_from("=HH", changes[-1], 4)
    changes[-1] = message(kind, flags | ACK, changes[-1][16:])
    return b"".join((_edge(_BATCH_BEGIN), *changes, _edge(_BATCH_END)))


def _balance(one: Difference) -> tuple[int, tuple[bytes, ...]] | None:
    """The address family and the addresses in the order of their slots, if a chain is to have just such a rule."""
    wanted, found = one.wanted, one.found
    if not isinstance(wanted, NftChain) or wanted.hook or len(wanted.rules) != 1:
        return None
    if found is not None and (not isinstance(found, NftChain) or found.hook):
        return None
    match = _BALANCE.match(wanted.rules[0])
    if match is None:
        return None
    slots = [slot.partition(" : ") for slot in match[3].split(", ")]
    if (
        len(slots) != int(match[2])
        or len(slots) > _MAX_SLOTS
        or [each[0] for each in slots] != [*map(str, range(len(slots)))]
    ):
        return None
    family = socket.AF_INET6 if match[1] == "ip6" else socket.AF_INET
    addresses = [_packed(family, address) for _, _, address in slots]
    return (family, tuple(each for each in addresses if each)) if all(addresses) else None


def _element(one: Difference) -> bytes | None:
    """A new element of a map from addresses to chains."""
    verdict = _VERDICT.match(str(one.wanted or ""))
    key = _packed(socket.AF_INET6 if ":" in one.item[3] else socket.AF_INET, one.item[3])
    if one.found is not None or verdict is None or key is None:
        return None
    jump = nested(2, attribute(1, struct.pack("!I", _JUMP)), text(2, verdict[1]))
    return nested(1, nested(1, attribute(1, key)), nested(2, jump))


def _rule(one: Difference, family: int, addresses: Sequence[bytes], number: int) -> Iterator[bytes]:
    """The map of the addresses, which has no name, and the rule that uses it. What the chain has is removed."""
    _, table, chain = one.item
    if one.found is not None:
        yield _message(_DELETE_RULE, 0, table, text(2, chain))
    size, kind = (16, 8) if family == socket.AF_INET6 else (4, 7)
    yield _message(
        _NEW_SET,
        CREATE,
        table,
        text(2, _MAP_NAME),
        *(
            _number(key, value)
            for key, value in ((3, _ANONYMOUS_MAP), (4, _INTEGER), (5, 4), (6, kind), (7, size), (10, number))
        ),
        nested(9, _number(1, len(addresses))),
        attribute(13, _USER_DATA),
    )
    elements = (
        nested(1, nested(1, attribute(1, struct.pack("=I", slot))), nested(2, attribute(1, address)))
        for slot, address in enumerate(addresses)
    )
    yield _message(_NEW_ELEMENTS, CREATE, table, text(2, _MAP_NAME), _number(4, number), nested(3, *elements))
    expressions = (
        _expression("numgen", _number(1, 1), _number(2, len(addresses)), _number(3, 0), _number(4, 0)),
        _expression("lookup", _number(2, 1), _number(3, 1), text(1, _MAP_NAME), _number(4, number)),
        _expression("nat", _number(1, 1), _number(2, int(family)), _number(3, 1)),
    )
    yield _message(_NEW_RULE, CREATE | APPEND, table, text(2, chain), nested(4, *expressions))


def _expression(name: str, *values: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *values))


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value))


def _message(kind: int, flags: int, table: str, *values: bytes) -> bytes:
    header = struct.pack("!BBH", _INET, 0, 0)
    return message(kind, REQUEST | flags, header + text(1, table.partition(" ")[2]) + b"".join(values))


def _edge(kind: int) -> bytes:
    return message(kind, REQUEST, struct.pack("!BBH", socket.AF_UNSPEC, 0, _SUBSYSTEM >> 8))


def _packed(family: int, address: str) -> bytes | None:
    try:
        return socket.inet_pton(family, address)
    except OSError:
        return None
