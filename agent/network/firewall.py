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
_VERDICT_OFFSET = 112 + 32  # behind an entry without matches and its target's head
_FORWARD = 2
_DROP = -1


class ForwardChain(NamedTuple):
    """A base chain at the forward hook."""

    family: str
    table: str
    name: str


def dropping_chains(listing: str) -> tuple[ForwardChain, ...]:
    """The chains of ``nft list chains`` that drop whatever no rule of theirs accepts. Pure."""
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
    """For people: what is in the way, and what to do. Pure."""
    if chain.name == "FORWARD" and chain.family == "ip":
        accept = (
            f"iptables -I FORWARD -i {bridge} -j ACCEPT; "
            f"iptables -I FORWARD -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
        )
    else:
        rule = f"nft insert rule {chain.family} {chain.table} {chain.name}"
        accept = f"{rule} iifname {bridge} accept; {rule} oifname {bridge} ct state related,established accept"
    return (
        f"WARNING: containers may have no way out: the chain {chain.name} of this host's firewall table {chain.family} "
        f"{chain.table} drops what it forwards, and no rule there names {bridge}. Let them through: {accept}"
    )


def warnings(host: Namespace, bridge: str) -> tuple[str, ...]:
    """A sentence for each table that drops forwarded packets by policy and has no rule that names the bridge."""
    found = list(_in_the_way(host, bridge))
    if host.run(lambda: _older_drops(bridge)):
        found.append(ForwardChain("ip", "filter", "FORWARD"))
    return tuple(warning_text(bridge, chain) for chain in dict.fromkeys(found))


def _in_the_way(host: Namespace, bridge: str) -> list[ForwardChain]:
    rules = NftablesContext(host)
    try:
        return [
            chain
            for chain in dropping_chains(rules.run("list chains"))
            if not _names(rules.run(f"list table {chain.family} {chain.table}"), bridge)
        ]
    except CoveyError:  # a kernel without nftables has none in the way; the first network says that it is missing
        return []
    finally:
        rules.close()


def _names(listing: str, bridge: str) -> bool:
    return re.search(rf"\b{re.escape(bridge)}\b", listing) is not None


def _older_drops(bridge: str) -> bool:
    """The same of iptables-legacy's own table, which nftables does not show. Asking for it would make it, so see whether it is there."""
    try:
        names = Path("/proc/thread-self/net/ip_tables_names").read_text().split()
    except OSError:
        return False
    if "filter" not in names:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as link:
        head = b"filter".ljust(32, b"\0")
        info = _INFO.unpack(_ask(link, _GET_INFO, head.ljust(_INFO.size, b"\0")))
        underflow, size = info[7:12], info[13]
        asked = head + struct.pack("=I", size)
        entries = _ask(link, _GET_ENTRIES, asked.ljust(_ENTRIES_HEAD_BYTES + size, b"\0"))[_ENTRIES_HEAD_BYTES:]
    (verdict,) = struct.unpack_from("=i", entries, underflow[_FORWARD] + _VERDICT_OFFSET)
    return verdict == _DROP and bridge.encode() + b"\0" not in entries


def _ask(link: socket.socket, option: int, question: bytes) -> bytes:
    """As `getsockopt`, but the buffer carries a question, which the socket module cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(question, len(question))
    length = ctypes.c_uint32(len(question))
    if libc.getsockopt(link.fileno(), socket.IPPROTO_IP, option, buffer, ctypes.byref(length)) != 0:
        raise OSError(ctypes.get_errno(), "the firewall's tables cannot be read")
    return buffer.raw[: length.value]
