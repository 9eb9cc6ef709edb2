"""The MTU of an overlay network on this host. Pure.

Invariant: a packet of that size plus the VXLAN headers fits the MTU of the host's underlay device.

Called by `overlays`.
"""

from __future__ import annotations

import msgspec

from covey.errors import UnsupportedError

VXLAN_OVERHEAD = 50
"""Outer Ethernet, IPv4, UDP and VXLAN headers."""
_JUMBO = 9_000


class Underlay(msgspec.Struct, frozen=True):
    """The host's device that carries the tunnels."""

    device: str
    mtu: int


def choose_mtu(network: str, requested: int, underlay: Underlay) -> int:
    """The network's own wish, else all that the underlay carries, jumbo frames at most.

    Raises:
        UnsupportedError: the wish is more than this host carries.
    """
    room = underlay.mtu - VXLAN_OVERHEAD
    if requested > room:
        raise UnsupportedError(
            f"network {network} asks for an MTU of {requested}, and {underlay.device} of this host with its MTU of "
            f"{underlay.mtu} carries {room} at most: raise that or lower the network's"
        )
    return requested or min(room, _JUMBO - VXLAN_OVERHEAD)
