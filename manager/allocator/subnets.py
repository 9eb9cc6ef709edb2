"""Subnet allocation: chooses a free subnet from the default address pools.

Invariant: two networks of the cluster never overlap (the control API refuses a user's subnet that would). The choice is a function of the
existing networks. Called by the allocator.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from covey.objects import IPAM, Cluster, IPAMConfig, Network, NetworkSpec
from manager.store.view import View


def complete_ipam(spec: NetworkSpec, taken: Iterable[str], cluster: Cluster) -> IPAM | None:
    """The network's IPAM with subnet and gateway filled in; None if the pools have no free subnet."""
    requested = spec.ipam.configs[0] if spec.ipam.configs else IPAMConfig()
    subnet = requested.subnet or _choose_subnet(taken, cluster, ingress=spec.ingress)
    if subnet is None:
        return None
    network = ipaddress.IPv4Network(subnet, strict=False)
    gateway = requested.gateway or str(network[1])
    config = IPAMConfig(
        subnet=str(network),
        ip_range=requested.ip_range,
        gateway=gateway,
        auxiliary_addresses=requested.auxiliary_addresses,
    )
    return IPAM(driver=spec.ipam.driver, configs=(config,))


def all_subnets(view: View) -> list[str]:
    """All subnets that networks hold or request."""
    return [subnet for network in view.networks for subnet in subnets_of(network)]


def subnets_of(network: Network) -> list[str]:
    """The IPv4 subnets that a network holds, or requests if it has none yet."""
    configs = network.ipam.configs or network.spec.ipam.configs
    return [config.subnet for config in configs if config.subnet and ":" not in config.subnet]


def _choose_subnet(taken: Iterable[str], cluster: Cluster, *, ingress: bool) -> str | None:
    """The first free subnet of the pools. The very first is reserved for the ingress network while others are free."""
    used = [ipaddress.IPv4Network(subnet, strict=False) for subnet in taken]
    candidates = _free_subnets(cluster, used)
    first = next(candidates, None)
    if first is None:
        return None
    reserved = next(_free_subnets(cluster, []))
    if ingress or first != reserved:
        return str(first)
    return str(next(candidates, first))


def _free_subnets(cluster: Cluster, used: list[ipaddress.IPv4Network]) -> Iterator[ipaddress.IPv4Network]:
    """Free subnets of the pools in order. Skips past the whole subnet that blocks a candidate."""
    for text in cluster.default_address_pool:
        pool = ipaddress.ip_network(text, strict=False)
        if not isinstance(pool, ipaddress.IPv4Network) or cluster.subnet_size < pool.prefixlen:
            continue
        size = 1 << (32 - cluster.subnet_size)
        start = int(pool.network_address)
        while start <= int(pool.broadcast_address):
            candidate = ipaddress.IPv4Network((start, cluster.subnet_size))
            blocker = next((other for other in used if other.overlaps(candidate)), None)
            if blocker is None:
                yield candidate
                start += size
            else:
                next_start = max(int(blocker.broadcast_address), int(candidate.broadcast_address)) + 1
                start = -(-next_start // size) * size  # rounded up to a multiple of the size
