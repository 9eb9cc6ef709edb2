"""Builder of a network's DNS zone: keeps the zone while endpoints and services come and go. Pure.

Invariant: the zone is the one that `zone.build_network_zone` makes of all that the builder knows. Invariant: a change costs the names
and addresses that it concerns: it alters the one zone, whose readers forget the answers that they keep when they are given it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from agent.dns.wire import ServiceTarget
from agent.dns.zone import NetworkZone, build_network_zone, endpoint_labels, item_addresses, service_labels
from covey.objects.assignment import NetworkEndpoint, VirtualService

T = TypeVar("T", bytes, str)


class ZoneBuilder:
    """One per network. Endpoints are known by their id, services by the id of the service."""

    def __init__(self, name: str) -> None:
        self._forward: dict[bytes, tuple[bytes, ...]] = {}
        self._reverse: dict[str, bytes] = {}
        self._places: dict[bytes, Mapping[bytes, tuple[ServiceTarget, ...]]] = {}
        self.zone = NetworkZone(name.lower().encode(), self._forward, self._reverse, self._places)
        self._name = name
        self._endpoints: dict[str, NetworkEndpoint] = {}
        self._services: dict[str, VirtualService] = {}
        self._aliases: tuple[tuple[str, str], ...] = ()
        self._endpoints_of_label: dict[bytes, set[str]] = {}
        self._services_of_label: dict[bytes, set[str]] = {}
        self._endpoints_of_address: dict[str, set[str]] = {}
        self._services_of_address: dict[str, set[str]] = {}
        self._endpoints_of_service: dict[str, set[str]] = {}

    def update(
        self,
        endpoints: Mapping[str, NetworkEndpoint | None],
        services: Mapping[str, VirtualService | None],
        local_aliases: Iterable[tuple[str, str]] = (),
    ) -> NetworkZone:
        """Put these endpoints and services, or remove those that are None. `local_aliases` are all of them. Returns the zone."""
        labels: set[bytes] = set()
        addresses: set[str] = set()
        for endpoint_id, endpoint in endpoints.items():
            for each in filter(None, (self._endpoints.get(endpoint_id), endpoint)):
                labels |= endpoint_labels(each)
                addresses.update(item_addresses(each))
                if each.service_id in self._services:
                    labels |= service_labels(self._services[each.service_id])
            self._put_endpoint(endpoint_id, endpoint)
        for service_id, service in services.items():
            for found in filter(None, (self._services.get(service_id), service)):
                labels |= service_labels(found)
                addresses.update(item_addresses(found))
            self._put_service(service_id, service)
        aliases = tuple(local_aliases)
        if aliases != self._aliases:
            labels |= {label.lower().encode() for label, _ in (*self._aliases, *aliases)}
            self._aliases = aliases
        self._rebuild(labels, addresses)
        return self.zone

    def _rebuild(self, labels: set[bytes], addresses: set[str]) -> None:
        """Build these names and addresses again, from everything that may answer for them."""
        services = _members(self._services_of_label, labels) | _members(self._services_of_address, addresses)
        endpoints = _members(self._endpoints_of_label, labels) | _members(self._endpoints_of_address, addresses)
        tasks = endpoints | _members(self._endpoints_of_service, services)
        part = build_network_zone(
            self._name,
            [self._endpoints[each] for each in endpoints],
            [self._services[each] for each in services],
            self._aliases,
            only=labels,
            tasks=[self._endpoints[each] for each in tasks],
        )
        for label in labels:
            self._forward.pop(label, None)
            if label in part.forward:
                self._forward[label] = part.forward[label]
            self._places.pop(label, None)
            if label in part.places:
                self._places[label] = part.places[label]
        for address in addresses:
            self._reverse.pop(address, None)
            if address in part.reverse:
                self._reverse[address] = part.reverse[address]

    def _put_endpoint(self, endpoint_id: str, endpoint: NetworkEndpoint | None) -> None:
        before = self._endpoints.pop(endpoint_id, None)
        if before is not None:
            _remove(self._endpoints_of_label, endpoint_labels(before), endpoint_id)
            _remove(self._endpoints_of_address, item_addresses(before), endpoint_id)
            _remove(self._endpoints_of_service, (before.service_id,), endpoint_id)
        if endpoint is not None:
            self._endpoints[endpoint_id] = endpoint
            _add(self._endpoints_of_label, endpoint_labels(endpoint), endpoint_id)
            _add(self._endpoints_of_address, item_addresses(endpoint), endpoint_id)
            _add(self._endpoints_of_service, (endpoint.service_id,), endpoint_id)

    def _put_service(self, service_id: str, service: VirtualService | None) -> None:
        before = self._services.pop(service_id, None)
        if before is not None:
            _remove(self._services_of_label, service_labels(before), service_id)
            _remove(self._services_of_address, item_addresses(before), service_id)
        if service is not None:
            self._services[service_id] = service
            _add(self._services_of_label, service_labels(service), service_id)
            _add(self._services_of_address, item_addresses(service), service_id)


def _add(index: dict[T, set[str]], keys: Iterable[T], member: str) -> None:
    for key in keys:
        index.setdefault(key, set()).add(member)


def _remove(index: dict[T, set[str]], keys: Iterable[T], member: str) -> None:
    for key in set(keys):
        members = index[key]
        members.discard(member)
        if not members:
            del index[key]


def _members(index: Mapping[T, set[str]], keys: Iterable[T]) -> set[str]:
    found: set[str] = set()
    for key in keys:
        found |= index.get(key, set())
    return found
