"""Options of device kinds and of bridge ports, as netlink attributes. Layouts: linux/if_link.h.

An option is named as in `Link.options`: the kernel's attribute without its prefix, in lower case. To support another one, add a row.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import NamedTuple

from agent.network.kernel.netlink import Attributes, attribute, to_int
from covey.errors import UnsupportedError


class _Format(NamedTuple):
    pack: Callable[[int | str], bytes]
    parse: Callable[[bytes], int | str]


class Option(NamedTuple):
    """The attribute's number and how its value is packed."""

    number: int
    format: _Format


def _native(code: str) -> _Format:
    return _Format(lambda value: struct.pack("=" + code, int(value)), to_int)


def _named(code: str, names: Mapping[str, int]) -> _Format:
    numbers = {number: name for name, number in names.items()}
    return _Format(
        lambda value: struct.pack("=" + code, names[value] if isinstance(value, str) else value),
        lambda data: numbers.get(to_int(data), to_int(data)),
    )


_U8, _U16, _U32 = _native("B"), _native("H"), _native("I")
_PORT = _Format(lambda value: struct.pack("!H", int(value)), lambda data: int(struct.unpack("!H", data)[0]))
_ADDRESS = _Format(lambda value: ip_address(value).packed, lambda data: str(ip_address(data)))
_FLAG = _Format(lambda _: b"", lambda _: 1)
_MACVLAN_MODE = _named("I", {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8, "source": 16})
_IPVLAN_MODE = _named("H", {"l2": 0, "l3": 1, "l3s": 2})
_IPVLAN_FLAG = _named("H", {"bridge": 0, "private": 1, "vepa": 2})

KIND_OPTIONS: Mapping[str, Mapping[str, Option]] = {
    "bridge": {
        "forward_delay": Option(1, _U32),
        "hello_time": Option(2, _U32),
        "ageing_time": Option(4, _U32),
        "stp_state": Option(5, _U32),
        "priority": Option(6, _U16),
        "vlan_filtering": Option(7, _U8),
        "group_fwd_mask": Option(9, _U16),
        "mcast_router": Option(22, _U8),
        "mcast_snooping": Option(23, _U8),
        "mcast_querier": Option(25, _U8),
        "nf_call_iptables": Option(36, _U8),
        "nf_call_ip6tables": Option(37, _U8),
        "nf_call_arptables": Option(38, _U8),
        "vlan_default_pvid": Option(39, _U16),
    },
    "vxlan": {
        "vxlan_id": Option(1, _U32),
        "vxlan_local": Option(4, _ADDRESS),
        "vxlan_ttl": Option(5, _U8),
        "vxlan_tos": Option(6, _U8),
        "vxlan_learning": Option(7, _U8),
        "vxlan_ageing": Option(8, _U32),
        "vxlan_proxy": Option(11, _U8),
        "vxlan_rsc": Option(12, _U8),
        "vxlan_l2miss": Option(13, _U8),
        "vxlan_l3miss": Option(14, _U8),
        "vxlan_port": Option(15, _PORT),
        "vxlan_local6": Option(17, _ADDRESS),
        "vxlan_udp_csum": Option(18, _U8),
        "vxlan_udp_zero_csum6_tx": Option(19, _U8),
        "vxlan_udp_zero_csum6_rx": Option(20, _U8),
        "vxlan_df": Option(29, _U8),
    },
    "macvlan": {"mode": Option(1, _MACVLAN_MODE), "flags": Option(2, _U16)},
    "ipvlan": {"mode": Option(1, _IPVLAN_MODE), "flag": Option(2, _IPVLAN_FLAG)},
    "vlan": {"vlan_id": Option(1, _U16)},
    "veth": {},
    "dummy": {},
    "tun": {},
    "wireguard": {},
}
PORT_OPTIONS: Mapping[str, Option] = {
    "priority": Option(2, _U16),
    "cost": Option(3, _U32),
    "hairpin_mode": Option(4, _U8),
    "bpdu_guard": Option(5, _U8),
    "root_block": Option(6, _U8),
    "fast_leave": Option(7, _U8),
    "learning": Option(8, _U8),
    "unicast_flood": Option(9, _U8),
    "proxyarp": Option(10, _U8),
    "mcast_flood": Option(27, _U8),
    "mcast_to_ucast": Option(28, _U8),
    "bcast_flood": Option(30, _U8),
    "neigh_suppress": Option(32, _U8),
    "isolated": Option(33, _U8),
}
IMMUTABLE_KINDS = frozenset({"vxlan", "vlan", "tun"})
"""The kinds whose options are set when the device is made; a device with other options is made again."""


def pack_options(kind: str, options: Mapping[str, int | str]) -> bytes:
    """The attributes of a device's options. Raises UnsupportedError for an unknown option, by name."""
    return _pack(f"devices of kind {kind}", KIND_OPTIONS.get(kind, {}), _unprefixed(kind, options))


def pack_port_options(options: Mapping[str, int]) -> bytes:
    return _pack("ports of a bridge", PORT_OPTIONS, options)


def parse_options(kind: str, data: Attributes) -> dict[str, int | str]:
    """The options that the kernel reports, by every name under which they may be wanted."""
    found = _parse(KIND_OPTIONS.get(kind, {}), data)
    local = found.pop("vxlan_local6", "")
    if kind == "vxlan" and "vxlan_local" not in found:  # the kernel does not report that any source will do
        found["vxlan_local"] = local or "::"
    return found | {name.removeprefix(f"{kind}_"): value for name, value in found.items()}


def parse_port_options(data: Attributes) -> dict[str, int]:
    return {name: int(value) for name, value in _parse(PORT_OPTIONS, data).items()}


def _unprefixed(kind: str, options: Mapping[str, int | str]) -> dict[str, int | str]:
    """Options by the names of the table, with an IPv6 `local` under its own attribute."""
    table = KIND_OPTIONS.get(kind, {})
    result = {f"{kind}_{name}" if f"{kind}_{name}" in table else name: value for name, value in options.items()}
    if ":" in str(result.get("vxlan_local", "")):
        result["vxlan_local6"] = result.pop("vxlan_local")
    return result


def _pack(what: str, table: Mapping[str, Option], options: Mapping[str, int | str]) -> bytes:
    packed: list[bytes] = []
    for name, value in options.items():
        option = table.get(name)
        if option is None:
            raise UnsupportedError(f"{what} have no option {name}")
        if option.format is not _FLAG or value:
            packed.append(attribute(option.number, option.format.pack(value)))
    return b"".join(packed)


def _parse(table: Mapping[str, Option], data: Attributes) -> dict[str, int | str]:
    return {name: option.format.parse(data[option.number]) for name, option in table.items() if option.number in data}
