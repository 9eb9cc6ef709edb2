"""Connections that the kernel tracks: finds and deletes entries that lead to a backend that is gone, or to a port that has moved.

Invariant: only translated connections are deleted: those to a service VIP within its network's subnets, or to a port that has moved.

TCP connections to a draining task live on. UDP flows, which have no end, move on as soon as their task is not ready.
`is_stale` decides, `delete_stale_entries` acts. Layouts: linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h.
"""

from __future__ import annotations

import logging
import re
import socket
import struct
from collections.abc import Callable, Collection, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import NamedTuple

from agent.network.backends import BackendTable
from agent.network.nftables import NftablesContext
from agent.network.plan import late_replies
from agent.network.plan.late_replies import MovedFlow
from covey.errors import CoveyError, UnsupportedError

logger = logging.getLogger(__name__)

_HEADER = struct.Struct("=IHHII")
_NETLINK_NETFILTER = 12
_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID = 1, 2, 12
_TUPLE_IP, _TUPLE_PROTOCOL, _TUPLE_ZONE = 1, 2, 3
_IP_SOURCE, _IP_DESTINATION, _IP6_SOURCE, _IP6_DESTINATION = 1, 2, 3, 4
_PROTOCOL_NUMBER, _PORT_SOURCE, _PORT_DESTINATION = 1, 2, 3
_NESTED_MASK = 0x3FFF
_LISTING = Path("/proc/thread-self/net/nf_conntrack")
_LISTED = re.compile(
    rb"^\S+ +\d+ \S+ +(\d+) .*?src=\S+ dst=(\S+)(?: sport=\d+ dport=(\d+))?.*? src=(\S+) ", re.MULTILINE
)
_FEW = 256  # of connections; older kernels begin the listing anew for every few of them


class ConntrackEntry(NamedTuple):
    """A connection that the kernel tracks.

    `vip` and `port` are what the client connected to, `backend` is the address that answers. `key` is the original tuple and
    `identity` the kernel's id of the entry, both packed. `flow` is set for datagrams whose sender is not translated.
    `from_node` says that the connection came in at another node of the mesh, which has a zone here.
    """

    protocol: int
    vip: str
    backend: str
    key: bytes
    identity: bytes
    port: int = 0
    flow: MovedFlow | None = None
    from_node: bool = False


def is_stale(entry: ConntrackEntry, table: BackendTable, subnets: Collection[IPv4Network | IPv6Network] = ()) -> bool:
    """True when the connection leads from a VIP of the table to an address that is no longer its backend, or from another translated
    address in `subnets`, which is a VIP that is gone.
    """
    if entry.vip == entry.backend:
        return False
    found = table.get(entry.vip)
    if found is None:
        return any(ip_address(entry.vip) in subnet for subnet in subnets)
    return entry.backend not in (found.ready if entry.protocol == socket.IPPROTO_UDP else found.all)


def delete_stale_entries(
    table: BackendTable, subnets: Collection[IPv4Network | IPv6Network] = (), nft_table: str = ""
) -> int:
    """Delete every stale entry of the calling thread's namespace. Returns their number. Replies go on by `nft_table`.

    Listing through netlink walks and locks the table of all namespaces (10 ms and more), so a cheaper look comes first.
    """
    if not _may_hold(lambda entry: is_stale(entry, table, subnets)):
        return 0
    has_ipv6 = any(":" in vip for vip in table) or any(subnet.version == 6 for subnet in subnets)
    deleted = 0
    with _open() as link:
        for family in (socket.AF_INET, socket.AF_INET6) if has_ipv6 else (socket.AF_INET,):
            stale = [entry for entry in _dump(link, family) if is_stale(entry, table, subnets)]
            _keep_replies(nft_table, stale)
            for entry in stale:
                _delete(link, entry)
            deleted += len(stale)
    return deleted


def delete_udp_flows(ports: Collection[int]) -> int:
    """Delete every entry of the calling thread's namespace whose client sent datagrams to these ports. Returns their number.

    A flow of datagrams has no end: it would keep the translation that it began with for as long as the client sends.
    """
    if _count() == 0:
        return 0
    deleted = 0
    with _open() as link:
        for family in (socket.AF_INET, socket.AF_INET6):
            found = [
                entry for entry in _dump(link, family) if entry.protocol == socket.IPPROTO_UDP and entry.port in ports
            ]
            for entry in found:
                _delete(link, entry)
            deleted += len(found)
    return deleted


def delete_flows_to_backends(udp: Collection[str], gone: Collection[str], nft_table: str = "") -> int:
    """Delete the connections that lead to addresses that are `gone`, and the UDP flows to those in `udp`. Returns their number.

    The next packet of such a connection is translated again: a datagram reaches another backend, a TCP segment gets a reset. Replies
    of the old backend that are on their way go on by `nft_table`. A flow that came in at another node is moved there; its entry here stays,
    because its replies need the mark.
    """

    def leads_to_backend(entry: ConntrackEntry) -> bool:
        is_moving = entry.protocol == socket.IPPROTO_UDP and entry.backend in udp and not entry.from_node
        return entry.backend in gone or is_moving

    if not _may_hold(leads_to_backend):
        return 0
    addresses = {*udp, *gone}
    deleted = 0
    with _open() as link:
        for family in {socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses}:
            found = [entry for entry in _dump(link, family) if leads_to_backend(entry)]
            _keep_replies(nft_table, found)
            for entry in found:
                _delete(link, entry)
            deleted += len(found)
    return deleted


def _keep_replies(table: str, entries: Collection[ConntrackEntry]) -> None:
    """Let replies that are on their way reach their clients without these entries. A failure is logged: such replies are lost."""
    lines = late_replies.commands(table, (entry.flow for entry in entries if entry.flow)) if table else []
    if not lines:
        return
    context = NftablesContext()
    try:
        context.run("\n".join(lines) + "\n")
    except CoveyError as error:
        logger.warning("replies of tasks that leave may be lost: %s", error.message)
    finally:
        context.close()


def _may_hold(is_searched: Callable[[ConntrackEntry], bool]) -> bool:
    """Whether the calling thread's namespace may hold such a connection. A few are looked at in a listing that takes no locks."""
    count = _count()
    if count is None or count > _FEW:
        return True
    if count == 0:
        return False
    try:
        listing = _read_listing(count)
    except OSError:
        return True
    return any(is_searched(entry) for entry in parse_listing(listing))


def _read_listing(count: int) -> bytes:
    """The kernel's listing, up to this number of connections: to find that there are no more, it would walk the table once more."""
    listing = b""
    with _LISTING.open("rb", buffering=0) as file:
        while listing.count(b"\n") < count and (more := file.read(1 << 16)):
            listing += more
    return listing


def parse_listing(listing: bytes) -> Iterator[ConntrackEntry]:
    """The connections of `/proc/net/nf_conntrack`, without the keys by which they could be deleted."""
    for protocol, vip, port, backend in _LISTED.findall(listing):
        yield ConntrackEntry(int(protocol), _normal(vip), _normal(backend), b"", b"", int(port or 0))


def _normal(address: bytes) -> str:
    text = address.decode("ascii")
    return str(ip_address(text)) if ":" in text else text


def _open() -> socket.socket:
    try:
        link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    except OSError as error:
        raise UnsupportedError(
            f"this kernel has no conntrack netlink, so connections to stopped containers cannot be deleted: {error}"
        ) from None
    try:
        link.settimeout(5)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        link.bind((0, 0))
    except BaseException:
        link.close()
        raise
    return link


def _count() -> int | None:
    """Number of connections in the calling thread's namespace, or None when the kernel does not report it."""
    try:
        return int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())
    except (OSError, ValueError):
        return None


def _dump(link: socket.socket, family: int) -> Iterator[ConntrackEntry]:
    head = _generic(family)
    link.send(_HEADER.pack(_HEADER.size + len(head), _GET, _REQUEST | _DUMP, 1, 0) + head)
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
            entry = _parse(data[offset + _HEADER.size + len(head) : offset + length])
            if entry is not None:
                yield entry
            offset += (length + 3) & ~3


def _parse(body: bytes) -> ConntrackEntry | None:
    parts = dict(_attributes(body))
    if _TUPLE_ORIGINAL not in parts or _TUPLE_REPLY not in parts:
        return None
    original, reply = dict(_attributes(parts[_TUPLE_ORIGINAL])), dict(_attributes(parts[_TUPLE_REPLY]))
    transport = dict(_attributes(original[_TUPLE_PROTOCOL]))
    vip = _address(original, _IP_DESTINATION, _IP6_DESTINATION)
    backend = _address(reply, _IP_SOURCE, _IP6_SOURCE)
    if not vip or not backend:
        return None
    protocol, port = transport[_PROTOCOL_NUMBER][0], _port(original, _PORT_DESTINATION)
    flow = None
    if protocol == socket.IPPROTO_UDP and vip != backend:
        client = _address(reply, _IP_DESTINATION, _IP6_DESTINATION), _port(reply, _PORT_DESTINATION)
        if client == (_address(original, _IP_SOURCE, _IP6_SOURCE), _port(original, _PORT_SOURCE)):
            flow = MovedFlow((backend, _port(reply, _PORT_SOURCE)), client, (vip, port))
    return ConntrackEntry(
        protocol, vip, backend, parts[_TUPLE_ORIGINAL], parts.get(_ID, b""), port, flow, _TUPLE_ZONE in original
    )


def _port(part: dict[int, bytes], kind: int) -> int:
    return int.from_bytes(dict(_attributes(part[_TUPLE_PROTOCOL])).get(kind, b""))


def _address(part: dict[int, bytes], kind: int, kind6: int) -> str:
    found = dict(_attributes(part[_TUPLE_IP]))
    if kind in found:
        return socket.inet_ntoa(found[kind])
    return socket.inet_ntop(socket.AF_INET6, found[kind6]) if kind6 in found else ""


def _generic(family: int) -> bytes:
    return struct.pack("=BBH", family, 0, 0)


def _delete(link: socket.socket, entry: ConntrackEntry) -> None:
    body = _generic(socket.AF_INET6 if ":" in entry.vip else socket.AF_INET) + _attribute(
        _TUPLE_ORIGINAL | 0x8000, entry.key
    )
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
