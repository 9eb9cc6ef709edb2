"""Connection draining: finds and deletes conntrack entries that lead to a backend that is gone.

Invariant: only connections to a service VIP within the container's own subnets are deleted.

TCP connections to a draining task live on. UDP flows, which have no end, move on as soon as their task is not ready.
`is_stale` decides, `delete_stale_entries` acts. Layouts: linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import NamedTuple

from agent.network.backends import BackendTable
from covey.errors import UnsupportedError

_HEADER = struct.Struct("=IHHII")
_NETLINK_NETFILTER = 12
_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_GENERIC = struct.pack("=BBH", socket.AF_INET, 0, 0)
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID = 1, 2, 12
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_IP_SOURCE, _IP_DESTINATION, _PROTOCOL_NUMBER = 1, 2, 1
_NESTED_MASK = 0x3FFF


class ConntrackEntry(NamedTuple):
    """A connection that the kernel tracks.

    `vip` is the address that the client connected to, `backend` the address that answers. `key` is the original tuple and
    `identity` the kernel's id of the entry, both packed.
    """

    protocol: int
    vip: str
    backend: str
    key: bytes
    identity: bytes


def is_stale(entry: ConntrackEntry, subnets: tuple[IPv4Network, ...], backends: BackendTable) -> bool:
    """True when the connection leads from a VIP in `subnets` to an address that is no longer its backend."""
    if entry.vip == entry.backend or not any(IPv4Address(entry.vip) in subnet for subnet in subnets):
        return False
    table = backends.ready if entry.protocol == socket.IPPROTO_UDP else backends.all
    return entry.backend not in table.get(entry.vip, ())


def delete_stale_entries(subnets: tuple[IPv4Network, ...], backends: BackendTable) -> int:
    """Delete every stale entry of the calling thread's namespace. Returns their number.

    Listing walks the table of all namespaces (about 10 ms), so a namespace without connections is skipped.
    """
    if _count() == 0:
        return 0
    try:
        link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    except OSError as error:
        raise UnsupportedError(
            f"this kernel has no conntrack netlink, so connections to stopped tasks cannot be deleted: {error}"
        ) from None
    with link:
        link.settimeout(5)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        link.bind((0, 0))
        stale = [entry for entry in _dump(link) if is_stale(entry, subnets, backends)]
        for entry in stale:
            _delete(link, entry)
    return len(stale)


def _count() -> int | None:
    """Number of connections in the calling thread's namespace, or None when the kernel does not report it."""
    try:
        return int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())
    except (OSError, ValueError):
        return None


def _dump(link: socket.socket) -> Iterator[ConntrackEntry]:
    link.send(_HEADER.pack(_HEADER.size + len(_GENERIC), _GET, _REQUEST | _DUMP, 1, 0) + _GENERIC)
    while True:
        data = link.recv(1 << 17)
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
            if kind == _DONE:
                return
            if kind == _ERROR:
                (number,) = struct.unpack_from("=i", data, offset + _HEADER.size)
                raise UnsupportedError(f"this kernel cannot list connections (conntrack netlink): error {-number}")
            entry = _parse(data[offset + _HEADER.size + len(_GENERIC) : offset + length])
            if entry is not None:
                yield entry
            offset += (length + 3) & ~3


def _parse(body: bytes) -> ConntrackEntry | None:
    parts = dict(_attributes(body))
    if _TUPLE_ORIGINAL not in parts or _TUPLE_REPLY not in parts:
        return None
    original, reply = dict(_attributes(parts[_TUPLE_ORIGINAL])), dict(_attributes(parts[_TUPLE_REPLY]))
    protocol = dict(_attributes(original[_TUPLE_PROTOCOL]))[_PROTOCOL_NUMBER][0]
    vip = dict(_attributes(original[_TUPLE_IP])).get(_IP_DESTINATION)
    backend = dict(_attributes(reply[_TUPLE_IP])).get(_IP_SOURCE)
    if vip is None or backend is None:
        return None
    return ConntrackEntry(
        protocol, socket.inet_ntoa(vip), socket.inet_ntoa(backend), parts[_TUPLE_ORIGINAL], parts.get(_ID, b"")
    )


def _delete(link: socket.socket, entry: ConntrackEntry) -> None:
    body = _GENERIC + _attribute(_TUPLE_ORIGINAL | 0x8000, entry.key)
    if entry.identity:  # so that a new connection with the same ports is not deleted
        body += _attribute(_ID, entry.identity)
    link.send(_HEADER.pack(_HEADER.size + len(body), _DELETE, _REQUEST | _ACK, 2, 0) + body)
    link.recv(1 << 12)  # an entry that is gone already is no error


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            return
        yield kind & _NESTED_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
