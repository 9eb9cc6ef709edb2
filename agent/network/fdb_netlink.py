"""Netlink messages for forwarding (FDB) and neighbour entries, sent in batches.

Messages are packed with `struct` for speed: one change may touch thousands of entries.

Invariant: a batch can be repeated. Adding replaces an entry, and a missing entry is no error when it is removed.
Invariant: the acknowledgement of every message is read.

Called by `overlay` inside the network's namespace. Layouts: linux/netlink.h (nlmsghdr), linux/neighbour.h (ndmsg),
linux/rtnetlink.h (rtattr).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Sequence

from agent.network.fdb import FdbEntry, FdbPlan
from agent.network.model import mac_address

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_NDMSG = struct.Struct("=BBHiHBB")  # family, pads, interface, state, flags, type
_RTM_NEWNEIGH, _RTM_DELNEIGH = 28, 29
_REQUEST, _ACK, _REPLACE, _CREATE = 0x1, 0x4, 0x100, 0x400
_NLMSG_ERROR = 2
_NDA_DST, _NDA_LLADDR = 1, 2
_NTF_SELF, _NTF_MASTER = 0x02, 0x04
# Permanent for the VXLAN device and the neighbour table. For the bridge "static": not aged, and not its own address.
_PERMANENT, _STATIC = 0x80, 0x40
_NOT_FOUND = {2, 3}  # ENOENT, ESRCH
_BATCH = 96  # messages per send, so that the acknowledgements fit the socket's buffer


def fdb_messages(vxlan: int, change: FdbPlan) -> list[bytes]:
    """The netlink messages of a plan. Each entry is three: the VXLAN FDB (host), the bridge FDB (port), the neighbour (MAC)."""
    result: list[bytes] = []
    for entry in change.removals:
        result += _entry(_RTM_DELNEIGH, _REQUEST | _ACK, vxlan, entry)
    for entry in change.upserts:
        result += _entry(_RTM_NEWNEIGH, _REQUEST | _ACK | _CREATE | _REPLACE, vxlan, entry)
    return result


def local_port_message(port: int, address: str) -> bytes:
    """The static FDB entry of a local container behind its bridge port."""
    head = (socket.AF_BRIDGE, port, _STATIC, _NTF_MASTER)
    return _message(_RTM_NEWNEIGH, _REQUEST | _ACK | _CREATE | _REPLACE, head, _attribute(_NDA_LLADDR, _mac(address)))


def send_messages(packed: Sequence[bytes]) -> list[tuple[int, str]]:
    """Send messages in the calling thread's namespace. Returns index and reason of each refused message."""
    failures: list[tuple[int, str]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        link.settimeout(5)
        link.bind((0, 0))
        for start in range(0, len(packed), _BATCH):
            batch = packed[start : start + _BATCH]
            link.send(b"".join(_numbered(message, start + i) for i, message in enumerate(batch)))
            pending = len(batch)
            while pending:
                for index, number in _acknowledgements(link.recv(1 << 16)):
                    pending -= 1
                    deleting = packed[index][4] == _RTM_DELNEIGH
                    if number and not (deleting and number in _NOT_FOUND):
                        failures.append((index, os.strerror(number)))
    return failures


def _entry(kind: int, flags: int, vxlan: int, entry: FdbEntry) -> Iterable[bytes]:
    mac = _attribute(_NDA_LLADDR, _mac(entry.address))
    address = _attribute(_NDA_DST, socket.inet_aton(entry.address))
    host = _attribute(_NDA_DST, socket.inet_aton(entry.host)) if entry.host else b""
    yield _message(kind, flags, (socket.AF_BRIDGE, vxlan, _PERMANENT, _NTF_SELF), mac + host)
    yield _message(kind, flags, (socket.AF_BRIDGE, vxlan, _STATIC, _NTF_MASTER), mac)
    yield _message(kind, flags, (socket.AF_INET, vxlan, _PERMANENT, 0), address + mac)


def _message(kind: int, flags: int, head: tuple[int, int, int, int], attributes: bytes) -> bytes:
    """`head`: family, interface, state and flags of the neighbour message."""
    family, interface, state, neighbour_flags = head
    body = _NDMSG.pack(family, 0, 0, interface, state, neighbour_flags, 0) + attributes
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 0, 0) + body


def _numbered(message: bytes, sequence: int) -> bytes:
    return message[:8] + sequence.to_bytes(4, "little" if struct.pack("=H", 1)[0] else "big") + message[12:]


def _attribute(kind: int, value: bytes) -> bytes:
    padding = -len(value) % 4
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(padding)


def _acknowledgements(data: bytes) -> Iterable[tuple[int, int]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
        if kind == _NLMSG_ERROR:
            (number,) = struct.unpack_from("=i", data, offset + _HEADER.size)
            yield sequence, -number
        offset += (length + 3) & ~3


def _mac(address: str) -> bytes:
    return bytes.fromhex(mac_address(address).replace(":", ""))
