"""rtnetlink messages of network devices: parsed into `Link`, and made from it. Layouts: linux/rtnetlink.h (ifinfomsg), linux/if_link.h."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import msgspec

from agent.network.kernel.link_options import pack_options, pack_port_options, parse_options, parse_port_options
from agent.network.kernel.netlink import (
    ACK,
    CREATE,
    EXCLUSIVE,
    REQUEST,
    attribute,
    attributes,
    message,
    nested,
    text,
    to_int,
    to_text,
    u32,
)
from agent.network.namespace_state import Link

IFINFO = struct.Struct("=BxHiII")  # family, type, index, flags, change
NEW_LINK, DELETE_LINK, GET_LINK, SET_LINK = 16, 17, 18, 19
_UP = 0x1
_ADDRESS, _NAME, _MTU, _LINK, _MASTER, _LINK_INFO = 1, 3, 4, 5, 10, 18
_ALIAS, _GROUP, _NETNS_FD, _LINK_NETNSID = 20, 27, 28, 37
_KIND, _DATA, _SLAVE_KIND, _SLAVE_DATA = 1, 2, 4, 5
_VETH_PEER = 1
_OTHER_MTU = 1499
"""The MTU that a bridge is made with. A bridge follows its ports' MTU until its own is changed, so the wanted one is set afterwards."""
ALL_LINKS = IFINFO.pack(0, 0, 0, 0, 0)


class FoundLink(msgspec.Struct, frozen=True):
    """A device as the kernel reports it. `below` is the index of the device below, in another namespace if `below_elsewhere`."""

    index: int
    name: str
    alias: str
    master: int
    below: int
    below_elsewhere: bool
    link: Link


def parse_link(body: bytes) -> FoundLink:
    """A device; `Link.master` and `Link.parent` are still indexes, and empty here."""
    _, _, index, flags, _ = IFINFO.unpack_from(body)
    found = attributes(body, IFINFO.size)
    info = attributes(found.get(_LINK_INFO, b""))
    kind = to_text(info.get(_KIND, b""))
    is_port = to_text(info.get(_SLAVE_KIND, b"")) == "bridge"
    link = Link(
        kind=kind,
        mac=found.get(_ADDRESS, b"").hex(":"),
        mtu=to_int(found.get(_MTU, b"")),
        up=bool(flags & _UP),
        options=parse_options(kind, attributes(info.get(_DATA, b""))) if kind else {},
        port_options=parse_port_options(attributes(info.get(_SLAVE_DATA, b""))) if is_port else {},
    )
    return FoundLink(
        index=index,
        name=to_text(found.get(_NAME, b"")),
        alias=to_text(found.get(_ALIAS, b"")),
        master=to_int(found.get(_MASTER, b"")),
        below=to_int(found.get(_LINK, b"")),
        below_elsewhere=_LINK_NETNSID in found,
        link=link,
    )


def with_names(found: Iterable[FoundLink]) -> dict[str, FoundLink]:
    """Devices by name, with the names of masters and of devices below in the same namespace."""
    by_index = {one.index: one for one in found}

    def name(index: int) -> str:
        return by_index[index].name if index in by_index else ""

    return {
        one.name: msgspec.structs.replace(
            one,
            link=msgspec.structs.replace(
                one.link,
                master=name(one.master),
                parent="" if one.below_elsewhere or one.link.kind == "veth" else name(one.below),
            ),
        )
        for one in by_index.values()
    }


def create_link(name: str, link: Link, *, parent: int = 0, into: int = -1, peer_namespace: int = -1) -> bytes:
    """Make a device, down. `into` is the descriptor of the namespace where it appears, if that is another one; so is the peer's."""
    data = pack_options(link.kind, link.options)
    if link.kind == "veth" and link.peer is not None:
        peer = [IFINFO.pack(0, 0, 0, 0, 0), text(_NAME, link.peer.name), u32(_MTU, link.peer.mtu)]
        if link.peer.mac:
            peer.append(attribute(_ADDRESS, _mac(link.peer.mac)))
        if peer_namespace >= 0:
            peer.append(u32(_NETNS_FD, peer_namespace))
        data = nested(_VETH_PEER, *peer)
    parts = [text(_NAME, name)]
    if parent:
        parts.append(u32(_LINK, parent))
    if into >= 0:
        parts.append(u32(_NETNS_FD, into))
    parts += _changed_attributes(link, {"mac"} if link.kind == "bridge" else {"mac", "mtu"})
    if link.kind == "bridge" and link.mtu:
        parts.append(u32(_MTU, _OTHER_MTU))
    parts.append(nested(_LINK_INFO, text(_KIND, link.kind), nested(_DATA, data)))
    return message(NEW_LINK, REQUEST | ACK | CREATE | EXCLUSIVE, IFINFO.pack(0, 0, 0, 0, 0) + b"".join(parts))


def change_link(
    index: int, link: Link, fields: frozenset[str] | set[str], *, master: int = 0, alias: str = ""
) -> bytes:
    """Set some fields of a device: mac, mtu, master, options, up; and its alias."""
    parts = _changed_attributes(link, fields)
    if "master" in fields:
        parts.append(u32(_MASTER, master))
    if "options" in fields:
        parts.append(nested(_LINK_INFO, text(_KIND, link.kind), nested(_DATA, pack_options(link.kind, link.options))))
    if alias:
        parts.append(attribute(_ALIAS, alias.encode()))
    change = _UP if "up" in fields else 0
    # Without a mask the kernel takes the flags as all flags of the device, and MULTICAST would go.
    head = IFINFO.pack(0, 0, index, _UP if link.up and change else 0, change)
    return message(NEW_LINK, REQUEST | ACK, head + b"".join(parts))


def change_port(index: int, link: Link) -> bytes:
    """Set the options of a bridge port."""
    data = nested(_SLAVE_DATA, pack_port_options(link.port_options))
    info = nested(_LINK_INFO, text(_SLAVE_KIND, "bridge"), data)
    return message(NEW_LINK, REQUEST | ACK, IFINFO.pack(0, 0, index, 0, 0) + info)


def ask_link(index: int) -> bytes:
    """Ask for one device. The kernel first ends what it postponed of its carrier: until then a new device drops what it should send."""
    return message(GET_LINK, REQUEST | ACK, IFINFO.pack(0, 0, index, 0, 0))


def delete_link(index: int) -> bytes:
    return message(DELETE_LINK, REQUEST | ACK, IFINFO.pack(0, 0, index, 0, 0))


def group_link(index: int, group: int) -> bytes:
    """Move a device into a group."""
    return message(NEW_LINK, REQUEST | ACK, IFINFO.pack(0, 0, index, 0, 0) + u32(_GROUP, group))


def delete_group(group: int) -> bytes:
    return message(DELETE_LINK, REQUEST | ACK, IFINFO.pack(0, 0, 0, 0, 0) + u32(_GROUP, group))


def _changed_attributes(link: Link, fields: frozenset[str] | set[str]) -> list[bytes]:
    parts: list[bytes] = []
    if "mac" in fields and link.mac:
        parts.append(attribute(_ADDRESS, _mac(link.mac)))
    if "mtu" in fields and link.mtu:
        parts.append(u32(_MTU, link.mtu))
    return parts


def _mac(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
