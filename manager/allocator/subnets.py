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
    """The network's IPAM with subnet and gateway filled in; None when the pools have no subnet left."""
    asked = spec.ipam.configs[0] if spec.ipam.configs else IPAMConfig()
    subnet = asked.subnet or _choose_subnet(taken, cluster, ingress=spec.ingress)
    if subnet is None:
        return None
    network = ipaddress.IPv4Network(subnet, strict=False)
    gateway = asked.gateway or str(network[1])
    config = IPAMConfig(
        subnet=str(network),
        ip_range=asked.ip_range,
        gateway=gateway,
        auxiliary_addresses=asked.auxiliary_addresses,
    )
    return IPAM(driver=spec.ipam.driver, configs=(config,))


def all_subnets(view: View) -> list[str]:
    """All that networks hold or ask for."""
    return [subnet for network in view.networks for subnet in subnets_of(network)]


def subnets_of(network: Network) -> list[str]:
    configs = network.ipam.configs or network.spec.ipam.configs
    return [config.subnet for config in configs if config.subnet and ":" not in config.subnet]


def _choose_subnet(taken: Iterable[str], cluster: Cluster, *, ingress: bool) -> str | None:
    """The first free subnet of the pools; the very first is kept for the ingress network while there are others."""
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
    """Free subnets in order. A candidate that is taken is passed by leaping behind whatever takes it."""
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
                behind = max(int(blocker.broadcast_address), int(candidate.broadcast_address)) + 1
                start = -(-behind // size) * size
