"""The networks, endpoints and virtual services that the cluster assigned to this host. Pure.

Invariant: `apply` is the only mutator. It returns what changed, by network.
Invariant: applying the same changes again changes nothing.
Invariant: the cost of a change follows the number of changed objects, not that of the others.

`host_networks` owns the one instance and derives forwarding entries, VIPs and DNS names from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

import msgspec

from agent.network.model import NetworkChanges, OverlayNetwork
from covey.objects.assignment import NetworkEndpoint, VirtualService

T = TypeVar("T", NetworkEndpoint, VirtualService)


class NetworkDelta(msgspec.Struct, kw_only=True):
    """What changed of one network: its configuration, endpoints by id and by address, and services by id; the service of endpoints
    without one is empty.
    """

    configuration: bool = False
    endpoints: set[str] = msgspec.field(default_factory=set)
    addresses: set[str] = msgspec.field(default_factory=set)
    services: set[str] = msgspec.field(default_factory=set)


class NetworkState:
    """Networks by id, and the endpoints and virtual services of each network by their own ids."""

    def __init__(self) -> None:
        self.networks: dict[str, OverlayNetwork] = {}
        self._endpoints: _ObjectsByNetwork[NetworkEndpoint] = _ObjectsByNetwork()
        self._services: _ObjectsByNetwork[VirtualService] = _ObjectsByNetwork()
        self._by_address: dict[tuple[str, str], dict[str, NetworkEndpoint]] = {}
        self._by_service: dict[tuple[str, str], dict[str, NetworkEndpoint]] = {}

    def endpoints(self, network_id: str) -> Mapping[str, NetworkEndpoint]:
        return self._endpoints.of_network(network_id)

    def services(self, network_id: str) -> Mapping[str, VirtualService]:
        return self._services.of_network(network_id)

    def service(self, network_id: str, service_id: str) -> VirtualService | None:
        return self._services.get(f"{service_id}/{network_id}")

    def endpoints_of_service(self, network_id: str, service_id: str) -> Collection[NetworkEndpoint]:
        return self._by_service.get((network_id, service_id), {}).values()

    def addresses(self, network_id: str) -> set[str]:
        """The IPv4 addresses of the network's endpoints."""
        return {endpoint.address for endpoint in self.endpoints(network_id).values()}

    def owner(self, network_id: str, address: str) -> NetworkEndpoint | None:
        """The endpoint with an IPv4 address.

        Two endpoints may claim one address while the old task is not gone yet. It belongs to the ready one, then to the greater id.
        """
        claims = self._by_address.get((network_id, address), {}).values()
        return max(claims, key=lambda each: (each.ready, each.id), default=None)

    def apply(self, changes: NetworkChanges) -> dict[str, NetworkDelta]:
        """Apply a set of changes. Returns what changed of each network that did."""
        deltas: dict[str, NetworkDelta] = {}
        for network_id in changes.removed_networks:
            if self.networks.pop(network_id, None) is not None:
                _delta(deltas, network_id).configuration = True
        for network in changes.networks:
            if self.networks.get(network.id) != network:
                self.networks[network.id] = network
                _delta(deltas, network.id).configuration = True
        for before, after in self._endpoints.update(changes.endpoints, changes.removed_endpoints):
            if before is not None:
                self._remove_from_indexes(before)
            if after is not None:
                self._by_address.setdefault((after.network_id, after.address), {})[after.id] = after
                self._by_service.setdefault((after.network_id, after.service_id), {})[after.id] = after
            for each in filter(None, (before, after)):
                delta = _delta(deltas, each.network_id)
                delta.endpoints.add(each.id)
                delta.addresses.add(each.address)
                delta.services.add(each.service_id)
        for old_service, new_service in self._services.update(changes.services, changes.removed_services):
            for service in filter(None, (old_service, new_service)):
                _delta(deltas, service.network_id).services.add(service.service_id)
        return deltas

    def _remove_from_indexes(self, endpoint: NetworkEndpoint) -> None:
        for index, part in ((self._by_address, endpoint.address), (self._by_service, endpoint.service_id)):
            members = index[endpoint.network_id, part]
            del members[endpoint.id]
            if not members:
                del index[endpoint.network_id, part]


def _delta(deltas: dict[str, NetworkDelta], network_id: str) -> NetworkDelta:
    return deltas.setdefault(network_id, NetworkDelta())


class _ObjectsByNetwork(Generic[T]):
    """Objects of one kind by id, grouped by their network. An object never changes its network."""

    def __init__(self) -> None:
        self._objects: dict[str, T] = {}
        self._by_network: dict[str, dict[str, T]] = {}

    def get(self, object_id: str) -> T | None:
        return self._objects.get(object_id)

    def of_network(self, network_id: str) -> Mapping[str, T]:
        return self._by_network.get(network_id, {})

    def update(self, upserts: Iterable[T], removed_ids: Collection[str]) -> Iterator[tuple[T | None, T | None]]:
        """Remove and put objects. An object that is both removed and put stays. Yields what changed, as it was and as it is."""
        new = {item.id: item for item in upserts}
        for object_id in removed_ids:
            item = None if object_id in new else self._objects.pop(object_id, None)
            if item is not None:
                self._remove_from_network(item)
                yield item, None
        for item in new.values():
            before = self._objects.get(item.id)
            if before != item:
                self._objects[item.id] = item
                self._by_network.setdefault(item.network_id, {})[item.id] = item
                yield before, item

    def _remove_from_network(self, item: T) -> None:
        of_network = self._by_network[item.network_id]
        del of_network[item.id]
        if not of_network:
            del self._by_network[item.network_id]
