"""Allocation index: which object holds which address, VXLAN id and port; a cache of the view.

Invariant: the ``sync`` methods make the index equal to the view for the given objects, so an index that followed every change equals one
built from the view (a property test). Makes no decision.
"""

from __future__ import annotations

from collections.abc import Iterable

from covey.objects import Network, Service, Task
from covey.task_predicates import has_ended
from manager.allocator.address_pool import AddressPool, parse_address
from manager.allocator.published_ports import PublishedPort, held_ports
from manager.store.view import View

AddressClaim = tuple[str, int]
"""Network id and address."""


class AllocationIndex:
    """Addresses, VXLAN ids and ports by holder. The planner reads and clears ``networks_with_freed_addresses``."""

    def __init__(self) -> None:
        self.pools: dict[str, AddressPool] = {}
        self.vnis: dict[str, int] = {}
        self.highest_vni = 0
        self.ports: dict[str, set[PublishedPort]] = {}
        self.networks_with_freed_addresses: dict[str, None] = {}
        self._claims: dict[str, tuple[AddressClaim, ...]] = {}

    @classmethod
    def from_view(cls, view: View) -> AllocationIndex:
        """An index built from the view alone."""
        index = cls()
        index.sync_networks(view, [network.id for network in view.networks])
        index.sync_services(view, [service.id for service in view.services])
        index.sync_tasks(view, [task.id for task in view.tasks])
        for pool in index.pools.values():
            pool.reset_cursor()
        index.networks_with_freed_addresses.clear()
        return index

    def sync_networks(self, view: View, ids: Iterable[str]) -> None:
        for network_id in ids:
            network = view.networks.get(network_id)
            if network is None or not network.vni:
                self.vnis.pop(network_id, None)
                self.pools.pop(network_id, None)
                continue
            self.vnis[network_id] = network.vni
            self.highest_vni = max(self.highest_vni, network.vni)
            config = network.ipam.configs[0]
            pool = self.pools.get(network_id)
            if pool is None or pool.config != config:
                self.pools[network_id] = self._new_pool(network)

    def sync_services(self, view: View, ids: Iterable[str]) -> None:
        for service_id in ids:
            service = view.services.get(service_id)
            self._set_claims(f"service {service_id}", _service_claims(service) if service else ())
            ports = held_ports(service) if service else set()
            if ports:
                self.ports[service_id] = ports
            else:
                self.ports.pop(service_id, None)

    def sync_tasks(self, view: View, ids: Iterable[str]) -> None:
        for task_id in ids:
            task = view.tasks.get(task_id)
            self._set_claims(f"task {task_id}", _task_claims(task) if task else ())

    def address_holders(self) -> dict[AddressClaim, set[str]]:
        """The holders of every address, for tests."""
        return {
            (network_id, address): set(holders)
            for network_id, pool in self.pools.items()
            for address, holders in pool.holders.items()
        }

    def _new_pool(self, network: Network) -> AddressPool:
        pool = AddressPool(network.ipam.configs[0])
        for holder, claims in self._claims.items():
            for network_id, address in claims:
                if network_id == network.id:
                    pool.take(address, holder)
        return pool

    def _set_claims(self, holder: str, claims: tuple[AddressClaim, ...]) -> None:
        before = self._claims.get(holder, ())
        if before == claims:
            return
        for network_id, address in before:
            pool = self.pools.get(network_id)
            if (network_id, address) not in claims and pool is not None:
                pool.free(address, holder)
                self.networks_with_freed_addresses[network_id] = None
        for network_id, address in claims:
            pool = self.pools.get(network_id)
            if (network_id, address) not in before and pool is not None:
                pool.take(address, holder)
        if claims:
            self._claims[holder] = claims
        else:
            self._claims.pop(holder, None)


def _service_claims(service: Service) -> tuple[AddressClaim, ...]:
    vips = service.endpoint.virtual_ips if service.endpoint else ()
    return tuple([(vip.network_id, parse_address(vip.address)) for vip in vips if vip.address])


def _task_claims(task: Task) -> tuple[AddressClaim, ...]:
    if has_ended(task):
        return ()
    return tuple(
        [
            (attachment.network_id, parse_address(attachment.address))
            for attachment in task.networks
            if attachment.address
        ]
    )
