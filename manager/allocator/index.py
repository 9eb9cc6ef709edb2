"""Allocation index: which object holds which address, VXLAN id and port; a cache of the view.

Invariant: the ``sync`` methods make the index equal to the view for the given objects, so an index that followed every change equals one
built from the view (a property test). Makes no decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from covey.objects import Endpoint, IPAMConfig, Network, NetworkAttachment, Node, Service, Task
from covey.task_predicates import has_ended
from manager.allocator.address_pool import AddressPool, parse_address
from manager.allocator.published_ports import PortOwners, held_ports
from manager.allocator.subnets import subnets_of
from manager.allocator.taken_subnets import TakenSubnets
from manager.service_ports import PublishedPort
from manager.store.view import View

AddressClaim = tuple[str, int, int]
"""Network id, family and address."""

NetworkPools = Mapping[int, AddressPool]
"""The pools of a network by family; none if each node gives the addresses itself."""


class AllocationIndex:
    """Addresses, VXLAN ids and ports by holder. The planner reads and clears ``networks_with_freed_addresses``.

    ``highest_vni`` is the highest VXLAN id that ever was.
    ``endpoints_told`` are the endpoints of services that all their tasks have; only a cache that spares looking at the tasks.
    """

    def __init__(self) -> None:
        self.pools: dict[str, NetworkPools] = {}
        self.vnis: dict[str, int] = {}
        self.highest_vni = 0
        self.subnets = TakenSubnets()
        self.ports: dict[str, set[PublishedPort]] = {}
        self.owners = PortOwners()
        self.networks_with_freed_addresses: dict[str, None] = {}
        self.endpoints_told: dict[str, Endpoint] = {}
        self._claims: dict[str, tuple[AddressClaim, ...]] = {}

    @classmethod
    def from_view(cls, view: View) -> AllocationIndex:
        """An index built from the view alone."""
        index = cls()
        index.highest_vni = max((cluster.highest_vni for cluster in view.clusters), default=0)
        index.sync_networks(view, [network.id for network in view.networks])
        index.sync_services(view, [service.id for service in view.services])
        index.sync_tasks(view, [task.id for task in view.tasks])
        index.sync_nodes(view, [node.id for node in view.nodes])
        for pools in index.pools.values():
            for pool in pools.values():
                pool.reset_cursor()
        index.networks_with_freed_addresses.clear()
        return index

    def sync_networks(self, view: View, ids: Iterable[str]) -> None:
        for network_id in ids:
            network = view.networks.get(network_id)
            self.subnets.set(network_id, subnets_of(network) if network is not None else ())
            if network is None or not network.usable:
                self.vnis.pop(network_id, None)
                self.pools.pop(network_id, None)
                continue
            if network.vni:
                self.vnis[network_id] = network.vni
                self.highest_vni = max(self.highest_vni, network.vni)
            pools = self.pools.get(network_id)
            if pools is None or {key: pool.configs for key, pool in pools.items()} != _configs_by_family(network):
                self.pools[network_id] = self._new_pools(network)

    def sync_services(self, view: View, ids: Iterable[str]) -> None:
        for service_id in ids:
            service = view.services.get(service_id)
            self._set_claims(f"service {service_id}", _service_claims(service) if service else ())
            self.owners.set(service_id, service.endpoint.ports if service and service.endpoint else ())
            ports = held_ports(service) if service else set()
            if ports:
                self.ports[service_id] = ports
            else:
                self.ports.pop(service_id, None)
            if service is None:
                self.endpoints_told.pop(service_id, None)

    def sync_tasks(self, view: View, ids: Iterable[str]) -> None:
        for task_id in ids:
            task = view.tasks.get(task_id)
            self._set_claims(f"task {task_id}", _task_claims(task) if task else ())

    def sync_nodes(self, view: View, ids: Iterable[str]) -> None:
        for node_id in ids:
            node = view.nodes.get(node_id)
            self._set_claims(f"node {node_id}", _node_claims(node) if node else ())

    def address_holders(self) -> dict[AddressClaim, set[str]]:
        """The holders of every address, for tests."""
        return {
            (network_id, family, address): set(holders)
            for network_id, pools in self.pools.items()
            for family, pool in pools.items()
            for address, holders in pool.holders.items()
        }

    def _new_pools(self, network: Network) -> NetworkPools:
        pools = {family: AddressPool(family, configs) for family, configs in _configs_by_family(network).items()}
        for holder, claims in self._claims.items():
            for network_id, family, address in claims:
                if network_id == network.id and family in pools:
                    pools[family].take(address, holder)
        return pools

    def _pool(self, network_id: str, family: int) -> AddressPool | None:
        return self.pools.get(network_id, {}).get(family)

    def _set_claims(self, holder: str, claims: tuple[AddressClaim, ...]) -> None:
        before = self._claims.get(holder, ())
        if before == claims:
            return
        for claim in before:
            network_id, family, address = claim
            pool = self._pool(network_id, family)
            if claim not in claims and pool is not None:
                pool.free(address, holder)
                self.networks_with_freed_addresses[network_id] = None
        for claim in claims:
            network_id, family, address = claim
            pool = self._pool(network_id, family)
            if claim not in before and pool is not None:
                pool.take(address, holder)
        if claims:
            self._claims[holder] = claims
        else:
            self._claims.pop(holder, None)


def _configs_by_family(network: Network) -> dict[int, tuple[IPAMConfig, ...]]:
    found: dict[int, tuple[IPAMConfig, ...]] = {}
    for config in () if network.node_local else network.ipam.configs:
        family = 6 if ":" in config.subnet else 4
        found[family] = (*found.get(family, ()), config)
    return found


def _claims(network_id: str, *addresses: str) -> Iterator[AddressClaim]:
    for text in addresses:
        if text:
            yield network_id, *parse_address(text)


def _attachment_claims(attachments: Iterable[NetworkAttachment]) -> tuple[AddressClaim, ...]:
    return tuple([claim for item in attachments for claim in _claims(item.network_id, item.address, item.address6)])


def _service_claims(service: Service) -> tuple[AddressClaim, ...]:
    """Its virtual addresses, and the fixed addresses of its slots, which nobody else may get meanwhile."""
    vips = service.endpoint.virtual_ips if service.endpoint else ()
    found = [claim for vip in vips for claim in _claims(vip.network_id, vip.address, vip.address6)]
    found += [claim for item in service.spec.task.networks for claim in _claims(item.target, *item.addresses)]
    return tuple(found)


def _task_claims(task: Task) -> tuple[AddressClaim, ...]:
    return () if has_ended(task) else _attachment_claims(task.networks)


def _node_claims(node: Node) -> tuple[AddressClaim, ...]:
    return _attachment_claims(node.attachments)
