"""Settings of the network `bridge` of a host, as the daemon's options `bip`, `fixed-cidr` and others state them. Pure.

Called by the daemon's options, which refuse what does not fit together, and by the agent.
"""

from __future__ import annotations

from ipaddress import ip_interface, ip_network

import msgspec

from covey.errors import InvalidArgumentError
from covey.objects.network import IPAMConfig

_LEAST_MTU_IPV6 = 1280


class DefaultBridge(msgspec.Struct, frozen=True, kw_only=True):
    """`bip` and `bip6` are the bridge's addresses with prefix lengths. Empty texts and an `mtu` of 0 leave the choice to the host.

    `binding` is the address of published ports that name none.
    """

    bip: str = ""
    bip6: str = ""
    fixed_cidr: str = ""
    fixed_cidr6: str = ""
    gateway: str = ""
    gateway6: str = ""
    ipv6: bool = False
    mtu: int = 0
    icc: bool = True
    masquerade: bool = True
    binding: str = ""


def check(bridge: DefaultBridge) -> None:
    """Refuse settings that do not fit together. Raises InvalidArgumentError, which names the key."""
    _check_family("", bridge.bip, bridge.fixed_cidr, bridge.gateway)
    _check_family("6", bridge.bip6, bridge.fixed_cidr6, bridge.gateway6)
    if (bridge.bip6 or bridge.fixed_cidr6) and not bridge.ipv6:
        key = "bip6" if bridge.bip6 else "fixed-cidr-v6"
        raise InvalidArgumentError(f"{key} needs ipv6: set ipv6 to true, or remove {key}")
    if bridge.ipv6 and 0 < bridge.mtu < _LEAST_MTU_IPV6:
        raise InvalidArgumentError(f"mtu: {bridge.mtu} is too small for ipv6: give at least {_LEAST_MTU_IPV6}")


def ipam_config(bip: str, fixed_cidr: str) -> IPAMConfig | None:
    """Subnet, range and gateway of one family; None where the host chooses. Without `bip` the fixed range is the subnet."""
    if bip:
        address = ip_interface(bip)
        return IPAMConfig(subnet=str(address.network), gateway=str(address.ip), ip_range=fixed_cidr)
    return IPAMConfig(subnet=str(ip_network(fixed_cidr))) if fixed_cidr else None


def _check_family(suffix: str, bip: str, fixed_cidr: str, gateway: str) -> None:
    cidr_key, gateway_key = (f"{key}-v6" if suffix else key for key in ("fixed-cidr", "default-gateway"))
    bip_key = f"bip{suffix}"
    if bip:
        address = ip_interface(bip)
        if fixed_cidr and not _contains(str(address.network), fixed_cidr):
            raise InvalidArgumentError(
                f"{cidr_key}: {fixed_cidr} is not within {address.network}, the network of {bip_key}"
            )
        if gateway and gateway != str(address.ip):
            raise InvalidArgumentError(
                f"{gateway_key}: {gateway} is not supported: containers go out through the bridge's own address, so give that as {bip_key}"
            )
    elif gateway:
        raise InvalidArgumentError(
            f"{gateway_key}: {gateway} needs {bip_key}: give the bridge's address as {bip_key} instead"
        )


def _contains(outer: str, inner: str) -> bool:
    network, within = ip_network(outer), ip_network(inner)
    return network.prefixlen <= within.prefixlen and within.network_address in network
