"""DNS zones: the names and addresses of a network, and the view that one container has of its networks. Pure.

A service resolves to its VIP, or with DNSRR to all ready tasks. `tasks.NAME` always resolves to all ready tasks. A task
or an alias of one resolves to its own address, ready or not, because the peers of a starting cluster must find each other. So does a
slot, and a service on one node: to the ready tasks there, or if there is none to those that are not.
Every name also resolves as NAME.NETWORK.

Invariant: a name is visible on its own network only.
Invariant: only `zone_builder` changes a zone, and only what a change of the network concerns.
"""

from __future__ import annotations

import functools
from collections.abc import Container, Iterable, Mapping
from ipaddress import ip_address
from typing import NamedTuple

from agent.dns import wire
from agent.dns.wire import ServiceTarget
from covey.errors import InvalidArgumentError
from covey.objects.assignment import NetworkEndpoint, VirtualService
from covey.states import EndpointMode

_PROTOCOLS = {b"_tcp", b"_udp", b"_sctp"}


class NetworkZone(NamedTuple):
    """Names of one network: lower-case names to packed addresses, and addresses to names."""

    name: bytes
    forward: Mapping[bytes, tuple[bytes, ...]]
    reverse: Mapping[str, bytes]
    places: Mapping[bytes, Mapping[bytes, tuple[ServiceTarget, ...]]] = {}
    """Of each name that has ports: for `_http._tcp` and the like, where it answers."""


class LocalMember(NamedTuple):
    """A container on a network of this host: its names, of which the first is its own, its addresses of both families, and the ports that
    it exposes or publishes, as (protocol, number).
    """

    names: tuple[str, ...]
    addresses: tuple[str, ...]
    ports: tuple[tuple[str, int], ...] = ()


class ZoneAnswer(NamedTuple):
    """Answer for a known name: its addresses (none if the record type does not exist), the name of an address, or a service's places."""

    addresses: tuple[bytes, ...] = ()
    pointer: bytes = b""
    places: tuple[ServiceTarget, ...] = ()


def build_network_zone(
    name: str,
    endpoints: Iterable[NetworkEndpoint],
    services: Iterable[VirtualService],
    local_aliases: Iterable[tuple[str, str]] = (),
    *,
    only: Container[bytes] | None = None,
    tasks: Iterable[NetworkEndpoint] | None = None,
) -> NetworkZone:
    """Build a network's zone. `local_aliases` are (name, address) of this host's containers, which other hosts do not know.

    With `only`, other names are left out. `tasks` are the endpoints of the services, if they are not just those that get own names.
    """
    forward: dict[bytes, dict[bytes, None]] = {}
    reverse: dict[str, bytes] = {}
    network = name.lower().encode()

    def add(label: str, addresses: Iterable[str]) -> None:
        key = label.lower().encode()
        if key and (only is None or key in only):
            forward.setdefault(key, {}).update(dict.fromkeys(map(_packed, addresses)))

    ordered = sorted(endpoints, key=lambda endpoint: endpoint.id)
    of_services = ordered if tasks is None else sorted(tasks, key=lambda endpoint: endpoint.id)
    ready: dict[str, list[NetworkEndpoint]] = {}
    shared: dict[str, list[NetworkEndpoint]] = {}
    places: dict[bytes, dict[bytes, tuple[ServiceTarget, ...]]] = {}
    for endpoint in of_services:
        if endpoint.ready and endpoint.service_id:
            ready.setdefault(endpoint.service_id, []).append(endpoint)
    for service in sorted(services, key=lambda service: service.service_id):
        reached = [address for endpoint in ready.get(service.service_id, ()) for address in item_addresses(endpoint)]
        vips = item_addresses(service)
        has_vip = service.mode is EndpointMode.VIP and bool(vips)
        each = _named_hosts(name, ready.get(service.service_id, ())) if service.ports else []
        whole = [(f"{service.name}.{name}", vips)] if has_vip else each
        for label in (service.name, *service.aliases):
            add(label, vips if has_vip else reached)
            add(f"tasks.{label}", reached)
            if label and service.ports:
                _add_places(places, label, service_ports(service), whole)
                _add_places(places, f"tasks.{label}", service_ports(service), each)
        reverse |= dict.fromkeys(vips, f"{service.name}.{name}".encode())
    for endpoint in ordered:
        own = item_addresses(endpoint)
        for label in (endpoint.task_name, endpoint.hostname, *endpoint.aliases):
            if label:
                add(label, own)
        label = endpoint.task_name or endpoint.hostname
        if label:
            pointer = f"{label}.{name}".encode()
            for address in own:
                if endpoint.ready or address not in reverse:
                    reverse[address] = pointer
        for label in shared_labels(endpoint):
            shared.setdefault(label, []).append(endpoint)
    for label, members in shared.items():
        for endpoint in [each for each in members if each.ready] or members:
            add(label, item_addresses(endpoint))
    for label, address in local_aliases:
        add(label, (address,))
    return NetworkZone(network, {label: tuple(found) for label, found in forward.items()}, reverse, places)


def build_local_zone(name: str, members: Iterable[LocalMember]) -> NetworkZone:
    """Build the zone of a network of this host. The first name of a member is the one that its addresses point to."""
    forward: dict[bytes, dict[bytes, None]] = {}
    reverse: dict[str, bytes] = {}
    places: dict[bytes, dict[bytes, tuple[ServiceTarget, ...]]] = {}
    for member in members:
        ports = [(str(number), protocol, number) for protocol, number in member.ports]
        for label in filter(None, member.names):
            slot = forward.setdefault(label.lower().encode(), {})
            slot.update((ip_address(address).packed, None) for address in member.addresses)
            _add_places(places, label, ports, [(f"{member.names[0]}.{name}", list(member.addresses))])
        for address in member.addresses:
            reverse[address] = f"{member.names[0]}.{name}".encode()
    return NetworkZone(
        name.lower().encode(), {label: tuple(found) for label, found in forward.items()}, reverse, places
    )


def with_links(zone: NetworkZone, links: Iterable[tuple[str, str]]) -> NetworkZone:
    """The zone as one container sees it that links to others: (alias, name) pairs. An alias of an unknown name is left out."""
    names = {alias.lower().encode(): name.lower().encode() for alias, name in links}
    found = {alias: zone.forward[name] for alias, name in names.items() if zone.forward.get(name)}
    places = {alias: zone.places[name] for alias, name in names.items() if name in zone.places}
    return zone._replace(forward={**zone.forward, **found}, places={**zone.places, **places})


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
        return self._find_places(name, kind) if name.startswith(b"_") else None

    def _find_places(self, name: bytes, kind: int) -> ZoneAnswer | None:
        """Answer for `_PORT._PROTOCOL.NAME`: where NAME answers. A known NAME without that port has an empty answer."""
        port, _, rest = name.partition(b".")
        protocol, _, label = rest.partition(b".")
        if protocol not in _PROTOCOLS:
            return None
        for network in self._networks:
            for each in (label, label.removesuffix(b"." + network.name)):
                if each in network.forward:
                    found = network.places.get(each, {}).get(port + b"." + protocol, ())
                    return ZoneAnswer(places=found if kind in {wire.SRV, wire.ANY} else ())
        return None


def _add_places(
    places: dict[bytes, dict[bytes, tuple[ServiceTarget, ...]]],
    label: str,
    ports: Iterable[tuple[str, str, int]],
    hosts: Iterable[tuple[str, list[str]]],
) -> None:
    """Let `label` answer at these ports, given as (name, protocol, number), of these hosts, given as names with addresses."""
    slot = places.setdefault(label.lower().encode(), {})
    packed = [(host.encode(), tuple(_packed(address) for address in addresses)) for host, addresses in hosts]
    for port, protocol, number in ports:
        key = f"_{port}._{protocol}".lower().encode()
        more = tuple(ServiceTarget(host, addresses, number) for host, addresses in packed)
        slot[key] = tuple(dict.fromkeys(slot.get(key, ()) + more))


def _named_hosts(network: str, endpoints: Iterable[NetworkEndpoint]) -> list[tuple[str, list[str]]]:
    """The tasks by the names that lead to them alone, with their addresses."""
    named = [(endpoint.task_name or endpoint.hostname, endpoint) for endpoint in endpoints]
    return [(f"{label}.{network}", item_addresses(endpoint)) for label, endpoint in named if label]


def service_ports(service: VirtualService) -> list[tuple[str, str, int]]:
    """The ports of a service's tasks as (name, protocol, number), once by number and once by name if they have one."""
    ports = [(port.protocol.name.lower(), port) for port in service.ports if port.target_port]
    by_number = [(str(port.target_port), protocol, port.target_port) for protocol, port in ports]
    return list(
        dict.fromkeys(by_number + [(port.name, protocol, port.target_port) for protocol, port in ports if port.name])
    )


def _of_kind(found: tuple[bytes, ...], kind: int) -> tuple[bytes, ...]:
    """The addresses of the family that a question asks for; for one of any kind those of IPv4, if there are any."""
    if kind == wire.ANY:
        return _of_kind(found, wire.A) or _of_kind(found, wire.AAAA)
    size = {wire.A: 4, wire.AAAA: 16}.get(kind, 0)
    return tuple(each for each in found if len(each) == size)


def endpoint_labels(endpoint: NetworkEndpoint) -> set[bytes]:
    """The names that lead to an endpoint by itself, or to its slot or its service on its node."""
    labels = (endpoint.task_name, endpoint.hostname, *endpoint.aliases, *shared_labels(endpoint))
    return {label.lower().encode() for label in labels if label}


def shared_labels(endpoint: NetworkEndpoint) -> list[str]:
    """SERVICE.SLOT, which is SERVICE.NODEID for a global service, and SERVICE.NODENAME. An update may have two tasks there at a time."""
    if not endpoint.service_name:
        return []
    names = [f"{endpoint.service_name}.{endpoint.node_name}"] if endpoint.node_name else []
    slot = endpoint.task_name.removesuffix(f".{endpoint.task_id}")
    return list(dict.fromkeys([*names, slot] if endpoint.task_id and slot != endpoint.task_name else names))


def service_labels(service: VirtualService) -> set[bytes]:
    """The names of a service and of its tasks."""
    labels = (service.name, *service.aliases)
    return {each.lower().encode() for label in labels for each in (label, f"tasks.{label}") if each}


def item_addresses(item: NetworkEndpoint | VirtualService) -> list[str]:
    """The addresses of both families that it has."""
    if not item.address6:
        return [item.address] if item.address else []
    return [item.address, item.address6] if item.address else [item.address6]


@functools.lru_cache(maxsize=65_536)
def _packed(address: str) -> bytes:
    try:
        return ip_address(address).packed
    except ValueError:
        raise InvalidArgumentError(f"{address!r} is not an IP address, so no name can resolve to it") from None
