"""The networks, endpoints and virtual services that the cluster assigned to this host. Pure.

Invariant: `apply` is the only mutator. It returns the ids of the networks that changed.
Invariant: applying the same changes again changes nothing.

`host_networks` owns the one instance and derives forwarding entries, VIP backends and DNS names from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Generic, TypeVar

from agent.network.model import NetworkChanges, OverlayNetwork
from covey.objects.assignment import NetworkEndpoint, VirtualService

T = TypeVar("T", NetworkEndpoint, VirtualService)


class NetworkState:
    """Networks by id, and the endpoints and virtual services of each network by their own ids."""

    def __init__(self) -> None:
        self.networks: dict[str, OverlayNetwork] = {}
        self._endpoints: _ObjectsByNetwork[NetworkEndpoint] = _ObjectsByNetwork()
        self._services: _ObjectsByNetwork[VirtualService] = _ObjectsByNetwork()

    def endpoints(self, network_id: str) -> Mapping[str, NetworkEndpoint]:
        return self._endpoints.of_network(network_id)

    def services(self, network_id: str) -> Mapping[str, VirtualService]:
        return self._services.of_network(network_id)

    def apply(self, changes: NetworkChanges) -> tuple[str, ...]:
        """Apply a set of changes. Returns the ids of the networks that changed, sorted."""
        changed: set[str] = set()
        for network_id in changes.removed_networks:
            if self.networks.pop(network_id, None) is not None:
                changed.add(network_id)
        for network in changes.networks:
            if self.networks.get(network.id) != network:
                self.networks[network.id] = network
                changed.add(network.id)
        changed |= self._endpoints.update(changes.endpoints, changes.removed_endpoints)
        changed |= self._services.update(changes.services, changes.removed_services)
        return tuple(sorted(changed))


class _ObjectsByNetwork(Generic[T]):
    """Objects of one kind by id, grouped by their network. An object never changes its network."""

    def __init__(self) -> None:
        self._objects: dict[str, T] = {}
        self._by_network: dict[str, dict[str, T]] = {}

    def of_network(self, network_id: str) -> Mapping[str, T]:
        return self._by_network.get(network_id, {})

    def update(self, upserts: Iterable[T], removed_ids: Collection[str]) -> set[str]:
        """Remove and put objects. An object that is both removed and put stays. Returns the changed networks."""
        new = {item.id: item for item in upserts}
        changed: set[str] = set()
        for object_id in removed_ids:
            item = None if object_id in new else self._objects.pop(object_id, None)
            if item is not None:
                self._remove_from_network(item)
                changed.add(item.network_id)
        for item in new.values():
            if self._objects.get(item.id) != item:
                self._objects[item.id] = item
                self._by_network.setdefault(item.network_id, {})[item.id] = item
                changed.add(item.network_id)
        return changed

    def _remove_from_network(self, item: T) -> None:
        of_network = self._by_network[item.network_id]
        del of_network[item.id]
        if not of_network:
            del self._by_network[item.network_id]
