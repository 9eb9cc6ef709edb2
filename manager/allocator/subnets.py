"""Subnets: choosing one that nobody has, and refusing one that somebody has.

Law: two networks of the cluster never overlap. The choice is a function of the networks that exist. Called by the allocator, and by
the control API before it stores a network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from covey.errors import ConflictError, InvalidArgumentError, UnsupportedError
from covey.objects import IPAM, Cluster, IPAMConfig, Network, NetworkSpec
from manager.store.view import View

_LARGEST_PREFIX = 29
"""Smaller subnets have no room for a gateway, a virtual address and tasks."""


def check_network(view: View, spec: NetworkSpec) -> None:
    """Refuses what the allocator could not give.

    Raises:
        InvalidArgumentError: a subnet, range, gateway or auxiliary address does not parse or lies outside.
        ConflictError: the subnet overlaps a network's.
        UnsupportedError: IPv6, or an IPAM driver.
    """
    name = spec.annotations.name
    if spec.ipv6 or any(":" in config.subnet for config in spec.ipam.configs):
        raise UnsupportedError(f"network {name}: IPv6 on overlay networks is not supported yet; leave --ipv6 out")
    if spec.ipam.driver.name not in {"", "default"}:
        raise UnsupportedError(f"network {name}: IPAM driver {spec.ipam.driver.name} is not supported; use default")
    if len(spec.ipam.configs) > 1:
        raise UnsupportedError(f"network {name}: more than one subnet is not supported yet; give one")
    for config in spec.ipam.configs:
        _check_config(name, config)
        if config.subnet:
            _check_overlap(view, config.subnet)


def complete(spec: NetworkSpec, taken: Iterable[str], cluster: Cluster) -> IPAM | None:
    """The network's IPAM with subnet and gateway filled in; None when the pools have no subnet left."""
    asked = spec.ipam.configs[0] if spec.ipam.configs else IPAMConfig()
    subnet = asked.subnet or _choose(taken, cluster, ingress=spec.ingress)
    if subnet is None:
        return None
    network = ipaddress.IPv4Network(subnet)
    gateway = asked.gateway or str(network[1])
    config = IPAMConfig(
        subnet=str(network),
        ip_range=asked.ip_range,
        gateway=gateway,
        auxiliary_addresses=asked.auxiliary_addresses,
    )
    return IPAM(driver=spec.ipam.driver, configs=(config,))


def subnets(view: View) -> list[str]:
    """All that networks hold or ask for."""
    return [subnet for network in view.networks for subnet in subnets_of(network)]


def subnets_of(network: Network) -> list[str]:
    configs = network.ipam.configs or network.spec.ipam.configs
    return [config.subnet for config in configs if config.subnet and ":" not in config.subnet]


def _choose(taken: Iterable[str], cluster: Cluster, *, ingress: bool) -> str | None:
    """The first free subnet of the pools; the very first is kept for the ingress network while there are others."""
    used = [ipaddress.IPv4Network(subnet) for subnet in taken]
    candidates = _candidates(cluster, used)
    first = next(candidates, None)
    if first is None:
        return None
    reserved = next(_candidates(cluster, []))
    if ingress or first != reserved:
        return str(first)
    return str(next(candidates, first))


def _candidates(cluster: Cluster, used: list[ipaddress.IPv4Network]) -> Iterator[ipaddress.IPv4Network]:
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


def _check_config(name: str, config: IPAMConfig) -> None:
    if not config.subnet:
        if config.gateway or config.ip_range or config.auxiliary_addresses:
            raise InvalidArgumentError(
                f"network {name}: a gateway, range or auxiliary address needs a subnet; give one"
            )
        return
    subnet = _network(config.subnet, "subnet")
    if subnet.prefixlen > _LARGEST_PREFIX:
        raise InvalidArgumentError(f"network {name}: subnet {subnet} is too small; give a /{_LARGEST_PREFIX} or larger")
    if config.ip_range and not _network(config.ip_range, "ip-range").subnet_of(subnet):
        raise InvalidArgumentError(f"network {name}: ip-range {config.ip_range} lies outside of subnet {subnet}")
    named = [("gateway", config.gateway), *config.auxiliary_addresses.items()]
    for what, address in named:
        if address and _address(address, what) not in subnet:
            raise InvalidArgumentError(
                f"network {name}: no matching subnet for {what} {address}: it is not in {subnet}"
            )


def _network(text: str, what: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        raise InvalidArgumentError(f"invalid {what} {text}: {error}") from error


def _address(text: str, what: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(text)
    except ValueError as error:
        raise InvalidArgumentError(f"invalid address {text} for {what}: {error}") from error


def _check_overlap(view: View, text: str) -> None:
    subnet = ipaddress.IPv4Network(text)
    for network in view.networks:
        for other in subnets_of(network):
            if subnet.overlaps(ipaddress.IPv4Network(other)):
                holder = network.spec.annotations.name or network.id
                raise ConflictError(
                    "invalid pool request: Pool overlaps with other one on this address space: "
                    f"{subnet} overlaps {other} of network {holder}"
                )
