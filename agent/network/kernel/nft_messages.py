"""Messages of nf_tables for what changes most: the chains of VIPs, which translate to backends in turns, and their elements of maps. Pure.

libnftables lists all chains and sets of the namespace before each transaction with rules or elements, which takes milliseconds among a
thousand services. What the kernel lists is the same as after libnftables. Only how the map of a rule is named differs.

Layouts: linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h; the user data of sets is that of libnftnl (`udata.h`).
"""

from __future__ import annotations

import hashlib
import re
import socket
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from operator import add

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
_JUMP = attribute(1, struct.pack("!i", -3))
_ANONYMOUS_MAP = 0x1 | 0x2 | 0x8
_INTEGER = 4
_USER_DATA = attribute(13, bytes.fromhex("000401000000010402000000060400000000"))
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


def _balance(one: Difference) -> tuple[int, list[bytes]] | None:
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
        or [int(slot) for slot, _, _ in slots if slot.isdigit()] != [*range(len(slots))]
    ):
        return None
    family = socket.AF_INET6 if match[1] == "ip6" else socket.AF_INET
    try:
        return family, [socket.inet_pton(family, address) for _, _, address in slots]
    except OSError:
        return None


def _element(one: Difference) -> bytes | None:
    """A new element of a map from addresses to chains."""
    verdict = _VERDICT.match(str(one.wanted or ""))
    if one.found is not None or verdict is None:
        return None
    try:
        key = socket.inet_pton(socket.AF_INET6 if ":" in one.item[3] else socket.AF_INET, one.item[3])
    except OSError:
        return None
    return nested(1, nested(1, attribute(1, key)), nested(2, nested(2, _JUMP, text(2, verdict[1]))))


def _rule(one: Difference, family: int, addresses: Sequence[bytes], number: int) -> Iterator[bytes]:
    """The map of the addresses, and the rule that uses it. What the chain has is removed."""
    _, table, chain = one.item
    if one.found is not None:
        yield _message(_DELETE_RULE, 0, table, text(2, chain))
    name, identity = _map_name(chain), struct.pack("!I", number)
    yield _message(
        _NEW_SET, CREATE, table, text(2, name), _map_head(family, len(addresses)), attribute(10, identity), _USER_DATA
    )
    # By its number, the kernel finds the map at once. By its name, it looks through all sets of the table.
    elements = b"".join(map(add, _slot_heads(family, len(addresses)), addresses))
    yield _message(_NEW_ELEMENTS, CREATE, table, attribute(4, identity), nested(3, elements))
    counter, translation = _expressions(family, len(addresses))
    lookup = _expression("lookup", _number(2, 1), _number(3, 1), text(1, name), attribute(4, identity))
    yield _message(_NEW_RULE, CREATE | APPEND, table, text(2, chain), nested(4, counter, lookup, translation))


def _map_name(chain: str) -> str:
    """A name for the map of a chain's rule, which no listing shows. With a pattern instead, such as libnftables sends, the kernel tries
    the name of each set of the table for a free number. It also compares each name with this one, so it is short. If two chains had
    the same, the kernel would refuse the transaction, and libnftables would load it.
    """
    return hashlib.blake2b(chain.encode(), digest_size=4).hexdigest()


@lru_cache(maxsize=256)
def _map_head(family: int, size: int) -> bytes:
    """Flags and types of a map from slots to addresses."""
    length, kind = (16, 8) if family == socket.AF_INET6 else (4, 7)
    numbers = ((3, _ANONYMOUS_MAP), (4, _INTEGER), (5, 4), (6, kind), (7, length))
    return b"".join((*(_number(key, value) for key, value in numbers), nested(9, _number(1, size))))


@lru_cache(maxsize=64)
def _slot_heads(family: int, size: int) -> tuple[bytes, ...]:
    """Each element of a map from slots to addresses, without the address at its end."""
    length = 16 if family == socket.AF_INET6 else 4
    empty = nested(2, attribute(1, bytes(length)))
    return tuple(nested(1, nested(1, attribute(1, struct.pack("=I", slot))), empty)[:-length] for slot in range(size))


@lru_cache(maxsize=256)
def _expressions(family: int, size: int) -> tuple[bytes, bytes]:
    """What counts through the slots, and what translates to the address that was found."""
    counter = _expression("numgen", _number(1, 1), _number(2, size), _number(3, 0), _number(4, 0))
    return counter, _expression("nat", _number(1, 1), _number(2, family), _number(3, 1))


def _expression(name: str, *values: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *values))


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value))


def _message(kind: int, flags: int, table: str, *values: bytes) -> bytes:
    header = struct.pack("!BBH", _INET, 0, 0)
    return message(kind, REQUEST | flags, header + text(1, table.partition(" ")[2]) + b"".join(values))


def _edge(kind: int) -> bytes:
    return message(kind, REQUEST, struct.pack("!BBH", socket.AF_UNSPEC, 0, _SUBSYSTEM >> 8))
