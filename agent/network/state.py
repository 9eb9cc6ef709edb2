"""The networks, endpoints and virtual services that the cluster assigned to this host. Pure.

Invariant: `apply` is the only mutator. It returns the ids of the networks that changed.
Invariant: after a complete set of changes, the state holds exactly the objects in that set.

`host_networks` owns the one instance and derives forwarding entries, VIP backends and DNS names from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from agent.network.model import Endpoint, NetworkChanges, OverlayNetwork, ServiceEndpoint

T = TypeVar("T")


class NetworkState:
    """Networks, and per network their endpoints by id and services by id."""

    def __init__(self) -> None:
        self.networks: dict[str, OverlayNetwork] = {}
        self._endpoints: dict[str, dict[str, Endpoint]] = {}
        self._services: dict[str, dict[str, ServiceEndpoint]] = {}

    def endpoints(self, network_id: str) -> Mapping[str, Endpoint]:
        return self._endpoints.get(network_id, {})

    def services(self, network_id: str) -> Mapping[str, ServiceEndpoint]:
        return self._services.get(network_id, {})

    def known_networks(self) -> tuple[str, ...]:
        """Every network id that anything is known of, its own record perhaps still to come."""
        return tuple(sorted(self.networks.keys() | self._endpoints.keys() | self._services.keys()))

    def apply(self, changes: NetworkChanges) -> tuple[str, ...]:
        """Take the difference; returns the ids of the networks it touched, sorted."""
        touched: set[str] = set()
        if changes.complete:
            touched |= self._keep_only(changes)
        for network_id in changes.removed_networks:
            if self.networks.pop(network_id, None) is not None:
                touched.add(network_id)
        for network in changes.networks:
            if self.networks.get(network.id) != network:
                self.networks[network.id] = network
                touched.add(network.id)
        touched |= _merge(
            self._endpoints, {(e.network_id, e.id): e for e in changes.endpoints}, changes.removed_endpoints
        )
        touched |= _merge(
            self._services, {(s.network_id, s.service_id): s for s in changes.services}, changes.removed_services
        )
        return tuple(sorted(touched))

    def _keep_only(self, changes: NetworkChanges) -> set[str]:
        touched: set[str] = set()
        for network_id in self.networks.keys() - {network.id for network in changes.networks}:
            del self.networks[network_id]
            touched.add(network_id)
        touched |= _drop_others(self._endpoints, {(e.network_id, e.id) for e in changes.endpoints})
        touched |= _drop_others(self._services, {(s.network_id, s.service_id) for s in changes.services})
        return touched


def _merge(
    table: dict[str, dict[str, T]], upserts: Mapping[tuple[str, str], T], removals: tuple[tuple[str, str], ...]
) -> set[str]:
    touched: set[str] = set()
    for network_id, item_id in removals:
        if (network_id, item_id) not in upserts and table.get(network_id, {}).pop(item_id, None) is not None:
            touched.add(network_id)
    for (network_id, item_id), item in upserts.items():
        items = table.setdefault(network_id, {})
        if items.get(item_id) != item:
            items[item_id] = item
            touched.add(network_id)
    _prune(table)
    return touched


def _drop_others(table: dict[str, dict[str, T]], kept: set[tuple[str, str]]) -> set[str]:
    touched: set[str] = set()
    for network_id, items in table.items():
        for item_id in [item_id for item_id in items if (network_id, item_id) not in kept]:
            del items[item_id]
            touched.add(network_id)
    _prune(table)
    return touched


def _prune(table: dict[str, dict[str, T]]) -> None:
    for network_id in [network_id for network_id, items in table.items() if not items]:
        del table[network_id]
