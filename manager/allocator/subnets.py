"""Subnet allocation: chooses free subnets of both families from the cluster's address pools.

Invariant: two networks of the cluster never overlap (the control API refuses a user's subnet that would). The choice is a function of the
existing networks. Called by the allocator.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256

from covey.objects import IPAM, Cluster, IPAMConfig, Network, NetworkSpec
from manager.allocator.taken_subnets import Span, TakenSubnets
from manager.store.view import View

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network

IPV6_SUBNET_SIZE = 64


def complete_ipam(
    spec: NetworkSpec, taken: TakenSubnets, cluster: Cluster, routes: Collection[str] = ()
) -> IPAM | None:
    """The network's IPAM with subnets and gateways filled in, IPv4 first; None if the pools have no free subnet. Chosen subnets overlap
    none of the nodes' ``routes``, or, if all would, contain none of them.
    """
    configs: list[IPAMConfig] = []
    for version in (4, 6) if spec.ipv6 else (4,):
        requested = [
            config for config in spec.ipam.configs if config.subnet and _subnet(config.subnet).version == version
        ]
        if not requested:
            subnet = _choose_subnet(version, taken.with_routes(version, routes), cluster, ingress=spec.ingress)
            if (
                subnet is None
            ):  # a route such as 10.0.0.0/8 covers the pools: then a part of it, which is more specific, has to do
                narrow = [route for route in routes if _subnet(route).prefixlen >= cluster.subnet_size]
                subnet = _choose_subnet(version, taken.with_routes(version, narrow), cluster, ingress=spec.ingress)
            if subnet is None:
                return None
            requested = [IPAMConfig(subnet=subnet)]
        configs += [_with_gateway(config) for config in requested]
    return IPAM(driver=spec.ipam.driver, configs=tuple(configs))


def node_routes(view: View) -> tuple[str, ...]:
    """The destinations of the routes of all nodes."""
    return tuple(dict.fromkeys(route.destination for node in view.nodes for route in node.description.routes))


def subnets_of(network: Network) -> list[str]:
    """The subnets that a network holds, or requests if it has none yet."""
    configs = network.ipam.configs or network.spec.ipam.configs
    return [config.subnet for config in configs if config.subnet and not network.node_local]


def unique_local_prefix(cluster_id: str) -> ipaddress.IPv6Network:
    """The cluster's own /48 of unique local addresses (RFC 4193): 40 bits that follow from its id."""
    global_id = sha256(f"covey cluster {cluster_id}".encode()).digest()[:5]
    return ipaddress.IPv6Network((b"\xfd" + global_id + bytes(10), 48))


def _with_gateway(config: IPAMConfig) -> IPAMConfig:
    """The config with its subnet without host bits, and the first address as its gateway unless it has another use."""
    network = _subnet(config.subnet)
    reserved = {ipaddress.ip_address(text) for text in config.auxiliary_addresses.values()}
    first = next(
        address for address in (network[number] for number in range(1, len(reserved) + 2)) if address not in reserved
    )
    return IPAMConfig(
        subnet=str(network),
        ip_range=config.ip_range,
        gateway=config.gateway or str(first),
        auxiliary_addresses=config.auxiliary_addresses,
    )


def _subnet(text: str) -> Subnet:
    return ipaddress.ip_network(text, strict=False)


def _choose_subnet(version: int, used: Sequence[Span], cluster: Cluster, *, ingress: bool) -> str | None:
    """The first free subnet of the pools. The very first is reserved for the ingress network while others are free."""
    candidates = _free_subnets(version, cluster, used)
    first = next(candidates, None)
    if first is None:
        return None
    reserved = next(_free_subnets(version, cluster, []))
    if ingress or first != reserved:
        return str(first)
    return str(next(candidates, first))


def _pools(version: int, cluster: Cluster) -> list[Subnet]:
    pools = [pool for pool in map(_subnet, cluster.default_address_pool) if pool.version == version]
    if version == 6 and not pools:
        return [unique_local_prefix(cluster.id)]
    return pools


def _free_subnets(version: int, cluster: Cluster, used: Sequence[Span]) -> Iterator[Subnet]:
    """Free subnets of the pools in order. ``used`` are in order, so one walk along them finds what is free."""
    length = cluster.subnet_size if version == 4 else IPV6_SUBNET_SIZE
    for pool in _pools(version, cluster):
        if length < pool.prefixlen:
            continue
        size = 1 << (pool.max_prefixlen - length)
        start, behind = int(pool.network_address), int(pool.broadcast_address) + 1
        for first, last in used:
            while start + size <= min(first, behind):
                yield type(pool)((start, length))
                start += size
            if last >= start:
                start = -(-(last + 1) // size) * size  # rounded up to a multiple of the size
            if start >= behind:
                break
        while start < behind:
            yield type(pool)((start, length))
            start += size
