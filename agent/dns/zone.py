"""DNS zones: the names and addresses of a network, and the view that one container has of its networks. Pure.

A service resolves to its VIP, or with DNSRR to all ready tasks. `tasks.NAME` always resolves to all ready tasks. A task
or an alias of one resolves to its own address, ready or not, because the peers of a starting cluster must find each other.
Every name also resolves as NAME.NETWORK.

Invariant: a name is visible on its own network only.
Invariant: only `zone_builder` changes a zone, and only what a change of the network concerns.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import NamedTuple

from agent.dns import wire
from covey.errors import InvalidArgumentError
from covey.objects.assignment import NetworkEndpoint, VirtualService
from covey.states import EndpointMode


class NetworkZone(NamedTuple):
    """Names of one network: lower-case names to packed addresses, and addresses to names."""

    name: bytes
    forward: Mapping[bytes, tuple[bytes, ...]]
    reverse: Mapping[str, bytes]


class LocalMember(NamedTuple):
    """A container on a network of this host: its names, of which the first is its own, and its addresses of both families."""

    names: tuple[str, ...]
    addresses: tuple[str, ...]


class ZoneAnswer(NamedTuple):
    """Answer for a known name: its addresses (none if the record type does not exist) or the name of an address."""

    addresses: tuple[bytes, ...] = ()
    pointer: bytes = b""


def build_network_zone(
    name: str,
    endpoints: Iterable[NetworkEndpoint],
    services: Iterable[VirtualService],
    local_aliases: Iterable[tuple[str, str]] = (),
) -> NetworkZone:
    """Build a network's zone. `local_aliases` are (name, address) of this host's containers, which other hosts do not know."""
    forward: dict[bytes, dict[bytes, None]] = {}
    reverse: dict[str, bytes] = {}
    network = name.lower().encode()

    def add(label: str, addresses: Iterable[str]) -> None:
        if label:
            slot = forward.setdefault(label.lower().encode(), {})
            slot.update((_packed(address), None) for address in addresses)

    ordered = sorted(endpoints, key=lambda endpoint: endpoint.id)
    ready: dict[str, list[str]] = {}
    for endpoint in ordered:
        if endpoint.ready and endpoint.service_id:
            ready.setdefault(endpoint.service_id, []).extend(item_addresses(endpoint))
    for service in sorted(services, key=lambda service: service.service_id):
        tasks = ready.get(service.service_id, [])
        vips = item_addresses(service)
        answer = vips if service.mode is EndpointMode.VIP and vips else tasks
        for label in (service.name, *service.aliases):
            add(label, answer)
            add(f"tasks.{label}", tasks)
        reverse |= dict.fromkeys(vips, f"{service.name}.{name}".encode())
    for endpoint in ordered:
        for label in (endpoint.task_name, endpoint.hostname, *endpoint.aliases):
            add(label, item_addresses(endpoint))
        label = endpoint.task_name or endpoint.hostname
        if label:
            pointed = [each for each in item_addresses(endpoint) if endpoint.ready or each not in reverse]
            reverse |= dict.fromkeys(pointed, f"{label}.{name}".encode())
    for label, address in local_aliases:
        add(label, (address,))
    return NetworkZone(network, {label: tuple(found) for label, found in forward.items()}, reverse)


def build_local_zone(name: str, members: Iterable[LocalMember]) -> NetworkZone:
    """Build the zone of a network of this host. The first name of a member is the one that its addresses point to."""
    forward: dict[bytes, dict[bytes, None]] = {}
    reverse: dict[str, bytes] = {}
    for member in members:
        for label in filter(None, member.names):
            slot = forward.setdefault(label.lower().encode(), {})
            slot.update((ip_address(address).packed, None) for address in member.addresses)
        for address in member.addresses:
            reverse[address] = f"{member.names[0]}.{name}".encode()
    return NetworkZone(name.lower().encode(), {label: tuple(found) for label, found in forward.items()}, reverse)


def with_links(zone: NetworkZone, links: Iterable[tuple[str, str]]) -> NetworkZone:
    """The zone as one container sees it that links to others: (alias, name) pairs. An alias of an unknown name is left out."""
    found = {alias.lower().encode(): zone.forward.get(name.lower().encode(), ()) for alias, name in links}
    return zone._replace(forward={**zone.forward, **{alias: items for alias, items in found.items() if items}})


class Zone:
    """The view of one container: the zones of its networks, in the order of its interfaces."""

    __slots__ = ("_networks",)

    def __init__(self, networks: tuple[NetworkZone, ...]) -> None:
        self._networks = networks

    def find(self, name: bytes, kind: int) -> ZoneAnswer | None:
        """The answer, or None for a name of no network, which is forwarded. `name` is in lower case, without the last dot."""
        if kind == wire.PTR:
            address = wire.reverse_address(name)
            for network in self._networks:
                pointed = network.reverse.get(address)
                if pointed:
                    return ZoneAnswer(pointer=pointed)
            return None
        for network in self._networks:
            found = network.forward.get(name)
            if found is None and name.endswith(b"." + network.name):
                found = network.forward.get(name[: -len(network.name) - 1])
            if found is not None:
                return ZoneAnswer(addresses=_of_kind(found, kind))
        return None


def _of_kind(found: tuple[bytes, ...], kind: int) -> tuple[bytes, ...]:
    """The addresses of the family that a question asks for; for one of any kind those of IPv4, if there are any."""
    if kind == wire.ANY:
        return _of_kind(found, wire.A) or _of_kind(found, wire.AAAA)
    size = {wire.A: 4, wire.AAAA: 16}.get(kind, 0)
    return tuple(each for each in found if len(each) == size)


def endpoint_labels(endpoint: NetworkEndpoint) -> set[bytes]:
    """The names that lead to an endpoint by itself."""
    labels = (endpoint.task_name, endpoint.hostname, *endpoint.aliases)
    return {label.lower().encode() for label in labels if label}


def service_labels(service: VirtualService) -> set[bytes]:
    """The names of a service and of its tasks."""
    labels = (service.name, *service.aliases)
    return {each.lower().encode() for label in labels for each in (label, f"tasks.{label}") if each}


def item_addresses(item: NetworkEndpoint | VirtualService) -> list[str]:
    """The addresses of both families that it has."""
    return [address for address in (item.address, item.address6) if address]


@functools.lru_cache(maxsize=65_536)
def _packed(address: str) -> bytes:
    try:
        return ip_address(address).packed
    except ValueError:
        raise InvalidArgumentError(f"{address!r} is not an IP address, so no name can resolve to it") from None
