"""What a host answers to a trace: the state of some namespaces as the kernels hold it, and its form on the wire. Pure.

Invariant: an encoded reading has at most `MAX_BYTES`, so that it always fits into a message.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from agent.network.namespace_state import NamespaceState
from agent.network.plan.difference_text import DifferenceText
from covey.errors import InvalidArgumentError, TooLargeError

MAX_BYTES = 512 << 10
MAX_DECODED_BYTES = 64 << 20


class RuleChain(msgspec.Struct, frozen=True, kw_only=True):
    """A chain of nftables with its rules, as in nft's JSON. `hook` is empty for one that others jump to."""

    table: str
    name: str
    kind: str = ""
    hook: str = ""
    priority: int = 0
    policy: str = "accept"
    rules: tuple[list[dict[str, Any]], ...] = ()


class NamespaceReading(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace. `differences` are those from what is wanted there.

    `chains` are those of tables that are not Covey's, and those of Covey's tables that were altered. `listeners` are sockets that
    take connections or datagrams, as "tcp ADDRESS PORT"; those of the host are not read.
    `connected` are the devices and subnets of the routes that the kernel made of addresses.
    """

    state: NamespaceState
    differences: tuple[DifferenceText, ...] = ()
    chains: tuple[RuleChain, ...] = ()
    listeners: frozenset[str] | None = None
    connected: frozenset[tuple[str, str]] = frozenset()


class BlockingChain(msgspec.Struct, frozen=True):
    """A chain of the host's own firewall that drops what is forwarded, and the commands that let containers through."""

    place: str
    remedy: str


class HostReading(msgspec.Struct, frozen=True, kw_only=True):
    """The namespaces of a host that were asked for, by key; one that is missing is not open there. `prefix` is the daemon's.

    `addresses` are those of the host's containers, with their namespaces. `tunnel_peers` are the addresses that lead to peers of
    WireGuard devices, as "DEVICE PREFIX"; None if they were not read.
    """

    prefix: str = "covey0"
    namespaces: Mapping[str, NamespaceReading] = {}
    blocked: tuple[BlockingChain, ...] = ()
    addresses: Mapping[str, str] = {}
    tunnel_peers: frozenset[str] | None = None


def encode(reading: HostReading) -> bytes:
    """The reading for the wire. Raises TooLargeError if it does not fit."""
    packed = zlib.compress(msgspec.json.encode(reading), 6)
    if len(packed) > MAX_BYTES:
        raise TooLargeError(
            f"the network state of this host has {len(packed)} bytes, and a trace takes {MAX_BYTES} at most"
        )
    return packed


def decode(packed: bytes) -> HostReading:
    """The reading on the wire. Raises InvalidArgumentError if it is none."""
    try:
        inflated = zlib.decompressobj()
        text = inflated.decompress(packed, MAX_DECODED_BYTES)
        return msgspec.json.decode(text, type=HostReading)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise InvalidArgumentError(f"a node's network state cannot be read: {error}") from error
