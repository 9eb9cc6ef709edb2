"""rtnetlink messages of addresses, routes, policy rules, neighbours and forwarding entries: parsed into items, and made from them.

Layouts: linux/if_addr.h, linux/rtnetlink.h (rtmsg), linux/fib_rules.h, linux/neighbour.h.

Invariant: adding an entry that exists replaces it, so that a batch can be repeated.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from ipaddress import ip_address, ip_interface, ip_network

from agent.network.kernel.netlink import (
    ACK,
    APPEND,
    CREATE,
    EXCLUSIVE,
    REPLACE,
    REQUEST,
    attribute,
    attributes,
    message,
    nested,
    text,
    to_int,
    to_text,
    u8,
    u32,
)
from agent.network.namespace_state import ROUTE_PROTOCOL, FdbEntry, PolicyRule, Route
from agent.network.plan.items import REPLICATION_MAC, Item, Value, fdb_item, route_item, rule_item
from covey.errors import UnsupportedError

NEW_ADDRESS, DELETE_ADDRESS, GET_ADDRESS = 20, 21, 22
NEW_ROUTE, DELETE_ROUTE, GET_ROUTE = 24, 25, 26
NEW_NEIGHBOUR, DELETE_NEIGHBOUR, GET_NEIGHBOUR = 28, 29, 30
NEW_RULE, DELETE_RULE, GET_RULE = 32, 33, 34

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_IFADDR = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=8BI")  # family, destination and source length, tos, table, protocol, scope, type, flags
_RULE = struct.Struct("=8BI")  # family, destination and source length, tos, table, 2 reserved, action, flags
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type
ALL_ADDRESSES = _IFADDR.pack(0, 0, 0, 0, 0)
ALL_RULES = _RULE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)

_NO_DAD = 0x02
_PERMANENT, _STATIC = 0x80, 0x40
_SELF, _MASTER, _PROXY = 0x02, 0x04, 0x08
_UNICAST, _UNREACHABLE, _BLACKHOLE = 1, 7, 6
_ROUTE_KINDS = {"unicast": _UNICAST, "unreachable": _UNREACHABLE, "blackhole": _BLACKHOLE, "prohibit": 8}
_KIND_NAMES = {number: name for name, number in _ROUTE_KINDS.items()}
_ADDRESS_PROTOCOL, _KERNEL_LINK_LOCAL = (
    11,
    3,
)  # since Linux 5.18; before, an address made from the MAC is told by its form
_EUI64_MIDDLE = b"\xff\xfe"
_ONLINK = 4
_CLONED = 0x200
_BY_KERNEL, _MAIN_TABLE = 2, 254
_KERNEL_PROTOCOLS = {1, 2, 9}  # redirect, kernel, router advertisement
_TO_TABLE, _GOTO = 1, 2
_ADD = REQUEST | ACK | CREATE | REPLACE


def all_routes(family: int) -> bytes:
    return _ROUTE.pack(_FAMILIES[family], 0, 0, 0, 0, 0, 0, 0, 0)


def all_neighbours(family: int) -> bytes:
    """`family` is 4, 6, or 7 for forwarding entries."""
    return _NEIGHBOUR.pack(_FAMILIES.get(family, socket.AF_BRIDGE), 0, 0, 0, 0)


def parse_address(body: bytes, devices: Mapping[int, str]) -> tuple[Item, bool] | None:
    """The address, and whether the kernel made it by itself; or None for one of a device that is not known."""
    family, prefix, _, _, index = _IFADDR.unpack_from(body)
    if index not in devices:
        return None
    found = attributes(body, _IFADDR.size)
    address = ip_address(found.get(2) or found[1])
    by_kernel = (
        to_int(found.get(_ADDRESS_PROTOCOL, b"")) == _KERNEL_LINK_LOCAL or address.packed[11:13] == _EUI64_MIDDLE
    )
    item = ("address", devices[index], f"{address}/{prefix}")
    return item, family == socket.AF_INET6 and address.is_link_local and by_kernel


def parse_route(body: bytes, devices: Mapping[int, str]) -> tuple[Item, Route, int] | None:
    """The route with its protocol, or None for one that the kernel made by itself."""
    family, destination_bits, _, _, table, protocol, _, kind, flags = _ROUTE.unpack_from(body)
    if protocol in _KERNEL_PROTOCOLS or kind not in _KIND_NAMES or flags & _CLONED:
        return None
    found = attributes(body, _ROUTE.size)
    metrics = attributes(found.get(8, b""))
    route = Route(
        destination=f"{ip_address(found[1])}/{destination_bits}" if 1 in found and destination_bits else "default",
        family=6 if family == socket.AF_INET6 else 4,
        gateway=_address(found.get(5, b"")),
        device=devices.get(to_int(found.get(4, b"")), "") if kind == _UNICAST else "",
        source=_address(found.get(7, b"")),
        table=to_int(found[15]) if 15 in found else table,
        metric=to_int(found.get(6, b"")),
        mtu=to_int(metrics.get(2, b"")),
        onlink=bool(flags & _ONLINK),
        kind=_KIND_NAMES[kind],
    )
    item, normal = route_item(route)
    return item, normal, protocol


def parse_destination(body: bytes, devices: Mapping[int, str], table: int) -> tuple[str, str] | None:
    """The destination and the device of any route of a table, or None for others and for a default route."""
    _, bits, _, _, short_table, *_ = _ROUTE.unpack_from(body)
    found = attributes(body, _ROUTE.size)
    if 1 not in found or (to_int(found[15]) if 15 in found else short_table) != table:
        return None
    return f"{ip_address(found[1])}/{bits}", devices.get(to_int(found.get(4, b"")), "")


def parse_connected(body: bytes, devices: Mapping[int, str]) -> tuple[str, str] | None:
    """The device and prefix of a route to a subnet that the kernel made of an address, or None for another route."""
    family, bits, _, _, table, protocol, _, kind, flags = _ROUTE.unpack_from(body)
    if protocol != _BY_KERNEL or kind != _UNICAST or flags & _CLONED or table != _MAIN_TABLE:
        return None
    found = attributes(body, _ROUTE.size)
    device = devices.get(to_int(found.get(4, b"")), "")
    if not device:
        return None
    empty = bytes(16 if family == socket.AF_INET6 else 4)
    return device, f"{ip_address(found.get(1, empty))}/{bits}"


def parse_rule(body: bytes) -> tuple[Item, PolicyRule, int] | None:
    """The rule with its protocol, or None for one that names neither a table to look up nor another rule."""
    family, _, source_bits, _, table, _, _, action, _ = _RULE.unpack_from(body)
    if action not in (_TO_TABLE, _GOTO):
        return None
    found = attributes(body, _RULE.size)
    rule = PolicyRule(
        priority=to_int(found.get(6, b"")),
        table=0 if action == _GOTO else to_int(found[15]) if 15 in found else table,
        goto=to_int(found.get(4, b"")) if action == _GOTO else 0,
        family=6 if family == socket.AF_INET6 else 4,
        mark=to_int(found.get(10, b"")),
        mask=to_int(found.get(16, b"")) if 10 in found else 0,
        input_device=to_text(found.get(3, b"")),
        source=f"{ip_address(found[2])}/{source_bits}" if 2 in found else "",
    )
    item, normal = rule_item(rule)
    return item, normal, to_int(found.get(21, b""))


def parse_neighbour(body: bytes, devices: Mapping[int, str]) -> tuple[Item, str] | None:
    """A permanent entry, or None."""
    _, index, state, flags, _ = _NEIGHBOUR.unpack_from(body)
    found = attributes(body, _NEIGHBOUR.size)
    if not state & _PERMANENT or flags & _PROXY or index not in devices or 1 not in found or 2 not in found:
        return None
    return ("neighbour", devices[index], str(ip_address(found[1]))), found[2].hex(":")


def parse_forwarding(body: bytes, devices: Mapping[int, str]) -> tuple[Item, str] | None:
    """A static entry of a bridge port or of a VXLAN device, or None for one that was learnt or is the device's own."""
    _, index, state, flags, _ = _NEIGHBOUR.unpack_from(body)
    found = attributes(body, _NEIGHBOUR.size)
    if index not in devices or 2 not in found:
        return None
    host = _address(found.get(1, b""))
    if flags & _SELF:
        if not host or not state & _PERMANENT:
            return None
    elif not state & _STATIC or 5 in found or 9 not in found:  # learnt, of one VLAN, or not of a bridge port
        return None
    return fdb_item(FdbEntry(devices[index], found[2].hex(":"), host))


def address_message(item: Item, index: int, *, add: bool) -> bytes:
    interface = ip_interface(item[2])
    is_v6 = interface.version == 6
    packed = interface.ip.packed
    parts = [attribute(2, packed), attribute(1, packed)]
    if add and not is_v6 and interface.network.prefixlen < 31:
        parts.append(attribute(4, interface.network.broadcast_address.packed))
    scope = 254 if interface.ip.is_loopback else 0
    head = _IFADDR.pack(
        _FAMILIES[interface.version], interface.network.prefixlen, _NO_DAD if is_v6 else 0, scope, index
    )
    return message(NEW_ADDRESS if add else DELETE_ADDRESS, _ADD if add else REQUEST | ACK, head + b"".join(parts))


def route_message(route: Route, index: int, *, add: bool) -> bytes:
    family = _FAMILIES[route.family]
    parts: list[bytes] = [u32(15, route.table)]
    bits = 0
    if route.destination != "default":
        network = ip_network(route.destination)
        bits = network.prefixlen
        parts.append(attribute(1, network.network_address.packed))
    if route.gateway:
        parts.append(attribute(5, ip_address(route.gateway).packed))
    if index:
        parts.append(u32(4, index))
    if route.source:
        parts.append(attribute(7, ip_address(route.source).packed))
    if route.metric:
        parts.append(u32(6, route.metric))
    if route.mtu:
        parts.append(nested(8, u32(2, route.mtu)))
    try:
        kind = _ROUTE_KINDS[route.kind]
    except KeyError:
        raise UnsupportedError(f"routes have no kind {route.kind}: it is one of {', '.join(_ROUTE_KINDS)}") from None
    scope = 253 if kind == _UNICAST and not route.gateway and route.family == 4 else 0
    table = route.table if route.table < 256 else 252
    flags = _ONLINK if route.onlink else 0
    if not add:  # a scope of "nowhere" matches any route
        scope = 255
    head = _ROUTE.pack(family, bits, 0, 0, table, ROUTE_PROTOCOL if add else 0, scope, kind, flags)
    return message(NEW_ROUTE if add else DELETE_ROUTE, _ADD if add else REQUEST | ACK, head + b"".join(parts))


def rule_message(rule: PolicyRule, *, add: bool) -> bytes:
    action, target = (_GOTO, u32(4, rule.goto)) if rule.goto else (_TO_TABLE, u32(15, rule.table))
    parts = [u32(6, rule.priority), target, u8(21, ROUTE_PROTOCOL)]
    bits = 0
    if rule.source:
        network = ip_network(rule.source)
        bits = network.prefixlen
        parts.append(attribute(2, network.network_address.packed))
    if rule.mark or rule.mask:
        parts += [u32(10, rule.mark), u32(16, rule.mask)]
    if rule.input_device:
        parts.append(text(3, rule.input_device))
    head = _RULE.pack(_FAMILIES[rule.family], 0, bits, 0, rule.table if rule.table < 256 else 252, 0, 0, action, 0)
    flags = REQUEST | ACK | CREATE | EXCLUSIVE if add else REQUEST | ACK
    return message(NEW_RULE if add else DELETE_RULE, flags, head + b"".join(parts))


def neighbour_message(item: Item, mac: Value, index: int, *, add: bool) -> bytes:
    packed = _packed(item[2])
    head = _NEIGHBOUR.pack(socket.AF_INET6 if len(packed) == 16 else socket.AF_INET, index, _PERMANENT, 0, 0)
    body = head + attribute(1, packed) + (attribute(2, _mac(str(mac))) if add else b"")
    return message(NEW_NEIGHBOUR if add else DELETE_NEIGHBOUR, _ADD if add else REQUEST | ACK, body)


def forwarding_message(item: Item, host: Value, index: int, *, add: bool) -> bytes:
    body = attribute(2, _mac(item[2]))
    if item[3] == "port":
        head = _NEIGHBOUR.pack(socket.AF_BRIDGE, index, _STATIC, _MASTER, 0)
    else:
        head = _NEIGHBOUR.pack(socket.AF_BRIDGE, index, _PERMANENT, _SELF, 0)
        body += attribute(1, _packed(str(host)))
    flags = REQUEST | ACK
    if add:
        flags |= CREATE | (APPEND if item[2] == REPLICATION_MAC else REPLACE)
    return message(NEW_NEIGHBOUR if add else DELETE_NEIGHBOUR, flags, head + body)


def _address(packed: bytes) -> str:
    return str(ip_address(packed)) if packed else ""


def _packed(address: str) -> bytes:
    """The bytes of an address in normal form, which the C library reads ten times as fast as `ipaddress`."""
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _mac(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
