"""Subnets of local networks: validation in Docker's words, default address pools, and choice of free subnets and gateways. Pure.

Invariant: no two networks of the host overlap. Invariant: a subnet that the host chooses overlaps no route of the host; one that the
user names contains none, because the kernel would then have two ways to the same addresses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import msgspec

from agent.network.model import HostRoute
from covey.errors import ConflictError, InvalidArgumentError, PermissionDeniedError
from covey.network_pools import AddressPool
from covey.objects.network import IPAMConfig

Subnet: TypeAlias = IPv4Network | IPv6Network

DEFAULT_POOLS = (
    AddressPool("172.17.0.0/16", 16),
    AddressPool("172.18.0.0/16", 16),
    AddressPool("172.19.0.0/16", 16),
    AddressPool("172.20.0.0/14", 16),
    AddressPool("172.24.0.0/14", 16),
    AddressPool("172.28.0.0/14", 16),
    AddressPool("192.168.0.0/16", 20),
)
"""As in Docker."""
OVERLAP = "invalid pool request: Pool overlaps with other one on this address space"


def unique_local_pool(engine_id: str) -> AddressPool:
    """The host's own IPv6 prefix, from which networks with IPv6 and without a subnet take theirs (RFC 4193)."""
    digest = hashlib.sha256(engine_id.encode()).digest()[:5]
    base = b"\xfd" + digest
    return AddressPool(str(IPv6Network((base.ljust(16, b"\0"), 48))), 64)


def check_ipam(configs: Sequence[IPAMConfig], *, ipv6: bool) -> None:
    """Raises InvalidArgumentError with all that is wrong, in Docker's words."""
    errors = [error for config in configs for error in _config_errors(config, ipv6=ipv6)]
    if errors:
        raise InvalidArgumentError("invalid network config:\n" + "\n".join(errors))


def check_free(subnets: Iterable[Subnet], taken: Sequence[Subnet], routes: Sequence[HostRoute]) -> None:
    """Refuse subnets that overlap another network or one another, or that contain a route of the host."""
    seen = list(taken)
    for subnet in subnets:
        if any(_overlap(subnet, other) for other in seen):
            raise PermissionDeniedError(OVERLAP)
        for route in routes:
            other = ip_network(route.destination)
            if other.version == subnet.version and other.prefixlen >= subnet.prefixlen and _overlap(subnet, other):
                raise PermissionDeniedError(
                    f"the subnet {subnet} contains {route.destination}, which this host reaches by its own route on {route.device}: "
                    "choose another subnet or remove the route"
                )
        seen.append(subnet)


def choose_subnet(pools: Sequence[AddressPool], taken: Sequence[Subnet], routes: Sequence[HostRoute]) -> Subnet:
    """The first subnet of the pools that overlaps neither another network nor a route of the host, except its default route."""
    used = [*taken, *(found for route in routes if (found := ip_network(route.destination)).prefixlen)]
    for pool in pools:
        for candidate in _candidates(pool):
            if not any(_overlap(candidate, other) for other in used):
                return candidate
    raise ConflictError(
        "all predefined address pools have been fully subnetted: they overlap networks and routes of this host. Name a free subnet "
        "with --subnet, or give the daemon more pools with --default-address-pool"
    )


def complete(config: IPAMConfig, *, with_gateway: bool) -> IPAMConfig:
    """The configuration with the gateway that the host chooses: the first address of the range or of the subnet."""
    if config.gateway or not with_gateway:
        return config
    subnet = ip_network(config.subnet)
    auxiliary = {ip_address(each) for each in config.auxiliary_addresses.values()}
    for number in offsets(config):
        if subnet[number] not in auxiliary:
            return msgspec.structs.replace(config, gateway=str(subnet[number]))
    raise InvalidArgumentError(f"failed to allocate gateway (): No available addresses on this pool: {config.subnet}")


def offsets(config: IPAMConfig) -> range:
    """Numbers of the addresses of a subnet, or of its range, that endpoints may have."""
    subnet = ip_network(config.subnet)
    first, last = (1, subnet.num_addresses - 2) if subnet.version == 4 else (1, subnet.num_addresses - 1)
    if subnet.num_addresses <= 2:
        first, last = 0, subnet.num_addresses - 1
    if config.ip_range:
        within = ip_network(config.ip_range)
        start = int(within.network_address) - int(subnet.network_address)
        first, last = max(first, start), min(last, start + within.num_addresses - 1)
    return range(first, last + 1)


def _config_errors(config: IPAMConfig, *, ipv6: bool) -> Iterator[str]:
    try:
        host, _, bits = config.subnet.partition("/")
        subnet = ip_network(f"{ip_address(host)}/{int(bits)}", strict=False)
    except ValueError:
        yield f"invalid subnet {config.subnet}: invalid CIDR block notation"
        return
    if subnet.version == 6 and not ipv6:
        return
    if ip_address(host) != subnet.network_address:
        yield f"invalid subnet {config.subnet}: it should be {subnet}"
    if config.ip_range:
        yield from _range_errors(config.ip_range, subnet)
    if config.gateway and (error := _address_error(config.gateway, subnet)):
        yield f"invalid gateway {config.gateway}: {error}"
    for name, address in sorted(config.auxiliary_addresses.items()):
        if error := _address_error(address, subnet):
            yield f"invalid auxiliary address {name}: {error}"


def _range_errors(text: str, subnet: Subnet) -> Iterator[str]:
    try:
        host, _, bits = text.partition("/")
        found = ip_network(f"{ip_address(host)}/{int(bits)}", strict=False)
    except ValueError:
        yield f"invalid ip-range {text}: invalid CIDR block notation"
        return
    if found.version != subnet.version:
        yield f"invalid ip-range {text}: parent subnet is an IPv{subnet.version} block"
        return
    if found.prefixlen < subnet.prefixlen:
        yield f"invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}"
    if ip_address(host) != found.network_address:
        yield f"invalid ip-range {text}: it should be {found}"
    if not _overlap(found, subnet):
        yield f"invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range"


def _address_error(text: str, subnet: Subnet) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return "invalid address"
    if address.version != subnet.version:
        return f"parent subnet is an IPv{subnet.version} block"
    return "" if address in subnet else f"parent subnet {subnet} doesn't contain this address"


def _candidates(pool: AddressPool) -> Iterator[Subnet]:
    base = ip_network(pool.base)
    yield from base.subnets(new_prefix=max(pool.size, base.prefixlen))


def _overlap(one: Subnet, other: Subnet) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.overlaps(other)
