"""The forward chains of iptables-legacy, which nftables does not list: read for IPv4 and IPv6 by getsockopt.

Invariant: reading creates no table: a family whose filter table is not loaded is not asked.

Binary layouts: linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h and linux/netfilter/x_tables.h.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from pathlib import Path
from typing import NamedTuple

_GET_INFO, _GET_ENTRIES = 64, 65
_INFO = struct.Struct("=32s I 5I 5I I I")
_ENTRIES_HEAD_BYTES = 40
_TARGET_HEAD_BYTES = 32
_FORWARD = 2
_DROP = -1


class _Family(NamedTuple):
    """`entry_bytes` is the size of an entry without matches."""

    names: str
    socket_family: int
    level: int
    entry_bytes: int


_FAMILIES = {
    "ip": _Family("ip_tables_names", socket.AF_INET, socket.IPPROTO_IP, 112),
    "ip6": _Family("ip6_tables_names", socket.AF_INET6, socket.IPPROTO_IPV6, 168),
}


def forward_drops(family: str, bridge: str) -> bool:
    """Whether the policy of the filter table's FORWARD chain drops, and no rule of the table names the bridge.

    Call it inside the host's namespace. Raises OSError when the table cannot be read.
    """
    kind = _FAMILIES[family]
    if not is_loaded(family):
        return False
    with socket.socket(kind.socket_family, socket.SOCK_RAW, socket.IPPROTO_RAW) as link:
        head = b"filter".ljust(32, b"\0")
        info = _INFO.unpack(_getsockopt(link, kind.level, _GET_INFO, head.ljust(_INFO.size, b"\0")))
        underflow, size = info[7:12], info[13]
        request = (head + struct.pack("=I", size)).ljust(_ENTRIES_HEAD_BYTES + size, b"\0")
        entries = _getsockopt(link, kind.level, _GET_ENTRIES, request)[_ENTRIES_HEAD_BYTES:]
    offset = underflow[_FORWARD] + kind.entry_bytes + _TARGET_HEAD_BYTES
    (verdict,) = struct.unpack_from("=i", entries, offset)
    return verdict == _DROP and bridge.encode() + b"\0" not in entries


def is_loaded(family: str) -> bool:
    """Whether iptables-legacy has a filter table in the calling thread's namespace."""
    try:
        return "filter" in Path("/proc/thread-self/net", _FAMILIES[family].names).read_text().split()
    except OSError:
        return False


def _getsockopt(link: socket.socket, level: int, option: int, request: bytes) -> bytes:
    """Call getsockopt with a request in the buffer, which the socket module does not support."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(request, len(request))
    length = ctypes.c_uint32(len(request))
    if libc.getsockopt(link.fileno(), level, option, buffer, ctypes.byref(length)) != 0:
        raise OSError(ctypes.get_errno(), "the iptables-legacy tables cannot be read")
    return buffer.raw[: length.value]
