"""The MTU of an overlay network on this host. Pure.

Invariant: a packet of that size plus the VXLAN headers fits the MTU of the host's underlay device.

Called by `overlays`.
"""

from __future__ import annotations

import msgspec

from covey.errors import UnsupportedError

VXLAN_OVERHEAD = 50
"""Outer Ethernet, IPv4, UDP and VXLAN headers."""
_LONGER_IPV6_HEADER = 20
WIREGUARD_OVERHEAD = 60
"""Outer IPv4, UDP and WireGuard headers, with the authentication tag."""
_JUMBO = 9_000


class Underlay(msgspec.Struct, frozen=True):
    """The host's network device that carries the VXLAN packets."""

    device: str
    mtu: int
    is_ipv6: bool = False


def choose_mtu(network: str, requested: int, underlay: Underlay) -> int:
    """The MTU of a network: the requested one, else (0) as much as the underlay carries, up to jumbo frames.

    Raises:
        UnsupportedError: the request is more than this host carries.
    """
    overhead = VXLAN_OVERHEAD + (_LONGER_IPV6_HEADER if underlay.is_ipv6 else 0)
    available = underlay.mtu - overhead
    if requested > available:
        raise UnsupportedError(
            f"network {network} requests an MTU of {requested}, but {underlay.device} of this host with an MTU of "
            f"{underlay.mtu} carries {available} at most: raise the MTU of the device or lower that of the network"
        )
    return requested or min(available, _JUMBO - overhead)


def encrypted(underlay: Underlay, device: str) -> Underlay:
    """The WireGuard device on this underlay, as the underlay of VXLAN over IPv6."""
    overhead = WIREGUARD_OVERHEAD + (_LONGER_IPV6_HEADER if underlay.is_ipv6 else 0)
    return Underlay(device, min(underlay.mtu, _JUMBO) - overhead, is_ipv6=True)
