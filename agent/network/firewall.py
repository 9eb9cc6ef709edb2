"""Detection of host firewall rules that drop container traffic, with the commands that let it through.

A packet that any table's forward chain drops is lost, whatever the tables of Covey accept. So the driver checks once at
its start and warns.

Invariant: it reads rules and never changes a rule of the host.

Binary layouts of iptables-legacy: linux/netfilter_ipv4/ip_tables.h and linux/netfilter/x_tables.h.
"""

from __future__ import annotations

import ctypes
import re
import socket
import struct
from pathlib import Path
from typing import NamedTuple

from agent.network.netns import Namespace
from agent.network.nftables import NftablesContext
from covey.errors import CoveyError

_TABLE = re.compile(r"table (ip|inet) (\S+) \{")
_CHAIN = re.compile(r"chain (\S+) \{")
_GET_INFO, _GET_ENTRIES = 64, 65
_INFO = struct.Struct("=32s I 5I 5I I I")
_ENTRIES_HEAD_BYTES = 40
_VERDICT_OFFSET = 112 + 32  # after an entry without matches and the header of its target
_FORWARD = 2
DEVICE_BEGINNINGS = ("br-", "cv")
"""How the names of devices begin that carry containers' traffic beside the default bridge: networks of users, and ways out."""
_DROP = -1


class ForwardChain(NamedTuple):
    """A base chain at the forward hook."""

    family: str
    table: str
    name: str


def dropping_chains(listing: str) -> tuple[ForwardChain, ...]:
    """The forward chains in the output of `nft list chains` with a drop policy. Pure."""
    found: list[ForwardChain] = []
    table: re.Match[str] | None = None
    chain = ""
    for line in map(str.strip, listing.splitlines()):
        if line.startswith("table "):
            table = _TABLE.match(line)
        elif line.startswith("chain "):
            match = _CHAIN.match(line)
            chain = match[1] if match else ""
        elif table and chain and "hook forward" in line and "policy drop" in line:
            found.append(ForwardChain(table[1], table[2], chain))
    return tuple(found)


def warning_text(bridge: str, chain: ForwardChain) -> str:
    """The warning for users: which chain drops, and the commands that let containers and published ports through. Pure.

    A connection to a published port is one whose address was translated, at the entry node of the routing mesh as well.
    """
    if chain.name == "FORWARD" and chain.family == "ip":
        accept = "; ".join(
            f"iptables -I FORWARD -i {device} -j ACCEPT; "
            f"iptables -I FORWARD -o {device} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
            for device in (bridge, *(f"{beginning}+" for beginning in DEVICE_BEGINNINGS))
        )
        accept += "; iptables -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT"
    else:
        rule = f"nft insert rule {chain.family} {chain.table} {chain.name}"
        devices = ", ".join(f'"{each}"' for each in (bridge, *(f"{beginning}*" for beginning in DEVICE_BEGINNINGS)))
        accept = (
            f"{rule} iifname {{ {devices} }} accept; {rule} oifname {{ {devices} }} ct state related,established accept; "
            f"{rule} ct status dnat accept"
        )
    return (
        "WARNING: containers may have no outbound access, and published ports may not answer: the chain "
        f"{chain.name} of the firewall table {chain.family} {chain.table} on this host drops forwarded packets, and no rule "
        f"there names {bridge}. Allow them: {accept}"
    )


def warnings(host: Namespace, bridge: str) -> tuple[str, ...]:
    """A warning for each table that drops forwarded packets by policy and has no rule that names the bridge."""
    found = list(_nftables_chains(host, bridge))
    if host.run(lambda: _iptables_legacy_drops(bridge)):
        found.append(ForwardChain("ip", "filter", "FORWARD"))
    return tuple(warning_text(bridge, chain) for chain in dict.fromkeys(found))


def _nftables_chains(host: Namespace, bridge: str) -> list[ForwardChain]:
    nftables = NftablesContext(host)
    try:
        return [
            chain
            for chain in dropping_chains(nftables.run("list chains"))
            if not _names(nftables.run(f"list table {chain.family} {chain.table}"), bridge)
        ]
    except CoveyError:  # a kernel without nftables drops nothing; the first network reports that it is missing
        return []
    finally:
        nftables.close()


def _names(listing: str, bridge: str) -> bool:
    return re.search(rf"\b{re.escape(bridge)}\b", listing) is not None


def _iptables_legacy_drops(bridge: str) -> bool:
    """True when the filter table of iptables-legacy, which nftables does not list, drops forwarded packets.

    Reading the table would create it, so the function checks first that it exists.
    """
    try:
        names = Path("/proc/thread-self/net/ip_tables_names").read_text().split()
    except OSError:
        return False
    if "filter" not in names:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as link:
        head = b"filter".ljust(32, b"\0")
        info = _INFO.unpack(_getsockopt(link, _GET_INFO, head.ljust(_INFO.size, b"\0")))
        underflow, size = info[7:12], info[13]
        request = head + struct.pack("=I", size)
        entries = _getsockopt(link, _GET_ENTRIES, request.ljust(_ENTRIES_HEAD_BYTES + size, b"\0"))[
            _ENTRIES_HEAD_BYTES:
        ]
    (verdict,) = struct.unpack_from("=i", entries, underflow[_FORWARD] + _VERDICT_OFFSET)
    return verdict == _DROP and bridge.encode() + b"\0" not in entries


def _getsockopt(link: socket.socket, option: int, request: bytes) -> bytes:
    """Call getsockopt with a request in the buffer, which the socket module does not support."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(request, len(request))
    length = ctypes.c_uint32(len(request))
    if libc.getsockopt(link.fileno(), socket.IPPROTO_IP, option, buffer, ctypes.byref(length)) != 0:
        raise OSError(ctypes.get_errno(), "the iptables-legacy tables cannot be read")
    return buffer.raw[: length.value]
