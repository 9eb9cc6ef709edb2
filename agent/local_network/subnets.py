"""Subnets of local networks: validation in Docker's words, default address pools, and choice of free subnets and gateways. Pure.

Invariant: no two networks of the host overlap. Invariant: a subnet that the host chooses overlaps no route of the host; one that the
user names contains none, because the kernel would then have two ways to the same addresses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Network, ip_address, ip_network

import msgspec

from agent.network.model import HostRoute
from covey.errors import ConflictError, InvalidArgumentError, PermissionDeniedError
from covey.ipam_validation import Subnet, address_problems, overlap
from covey.network_pools import AddressPool
from covey.objects.network import IPAMConfig

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
    errors = [f"invalid subnet {config.subnet}: invalid CIDR block notation" for config in configs if not config.subnet]
    errors += address_problems([config for config in configs if config.subnet], ipv6=ipv6)
    if errors:
        raise InvalidArgumentError("invalid network config:\n" + "\n".join(errors))


def check_free(subnets: Iterable[Subnet], taken: Sequence[Subnet], routes: Sequence[HostRoute]) -> None:
    """Refuse subnets that overlap another network or one another, or that contain a route of the host."""
    seen = list(taken)
    for subnet in subnets:
        if any(overlap(subnet, other) for other in seen):
            raise PermissionDeniedError(OVERLAP)
        for route in routes:
            other = ip_network(route.destination)
            if other.version == subnet.version and other.prefixlen >= subnet.prefixlen and overlap(subnet, other):
                raise PermissionDeniedError(
                    f"the subnet {subnet} contains {route.destination}, which this host reaches by its own route on {route.device}: "
                    "choose another subnet or remove the route"
                )
        seen.append(subnet)


def choose_subnet(pools: Sequence[AddressPool], taken: Sequence[Subnet], routes: Sequence[HostRoute]) -> Subnet:
    """The first subnet of the pools that overlaps neither another network nor a route of the host, except its default route."""
    used = [*taken, *(found for route in routes if (found := ip_network(route.destination)).prefixlen)]
    for pool in pools:
        base = ip_network(pool.base)
        spans = sorted(_span(each) for each in used if each.version == base.version)
        free = _first_free(base, 1 << (base.max_prefixlen - max(pool.size, base.prefixlen)), spans)
        if free is not None:
            return ip_network((free, max(pool.size, base.prefixlen)))
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


def _span(subnet: Subnet) -> tuple[int, int]:
    return int(subnet.network_address), int(subnet.broadcast_address)


def _first_free(base: Subnet, size: int, used: Sequence[tuple[int, int]]) -> int | None:
    """The first multiple of `size` addresses in `base` that is free. `used` are first and last addresses in order: one walk finds it."""
    start, end = _span(base)
    for first, last in used:
        if start + size <= first:
            break
        if last >= start:
            start = -(-(last + 1) // size) * size  # rounded up to a multiple of the size
    return start if start + size - 1 <= end else None
