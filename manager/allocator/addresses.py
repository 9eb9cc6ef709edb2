"""Addresses given out in one allocation pass, from the pools of the index.

Invariant: one pass gives no address twice, although the index learns of its gifts only once they are committed. Called by ``allocation``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from covey.mac_address import derived_mac
from covey.network_options import MAC_OPTION
from covey.objects import Network, NetworkAttachment, NetworkAttachmentConfig
from manager.allocator.address_pool import AddressPool, Holder, parse_address
from manager.allocator.index import AllocationIndex
from manager.store.view import View


class AllocationBlocked(Exception):  # noqa: N818 - it is an outcome, not a fault
    """An object must wait. ``waits_for`` is the kind and id of the object whose change may help."""

    def __init__(self, reason: str, waits_for: tuple[str, str]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.waits_for = waits_for


class GivenAddresses(NamedTuple):
    """Addresses with their prefix lengths; empty for a family that the network does not have."""

    address: str = ""
    address6: str = ""


class AddressSource:
    """The free addresses of one pass. ``blocked_networks`` are those that got no subnet in it."""

    def __init__(self, view: View, index: AllocationIndex) -> None:
        self.blocked_networks: set[str] = set()
        self._view = view
        self._index = index
        self._free: dict[tuple[str, int], Iterator[int]] = {}
        self._requested: set[tuple[str, int, int]] = set()

    def network(self, network_id: str) -> Network:
        """The network, once it is allocated."""
        network = self._view.networks.get(network_id)
        if network is None:
            raise AllocationBlocked(f"network {network_id} not found", ("network", network_id))
        if network_id not in self._index.pools:
            is_exhausted = network_id in self.blocked_networks or not network.usable
            name = network.spec.annotations.name
            reason = f"network {name} has no subnet: the default address pool may be exhausted" if is_exhausted else ""
            raise AllocationBlocked(reason, ("network", network_id))
        return network

    def require_free(self, network_id: str) -> None:
        """Raises AllocationBlocked if the network has no free address of one of its families."""
        network = self.network(network_id)
        for pool in self._index.pools[network_id].values():
            if next(pool.free_addresses(), None) is None:
                raise AllocationBlocked(_exhausted_message(network, pool), ("network", network_id))

    def attachment(self, config: NetworkAttachmentConfig, holder: Holder, slot: int = 0) -> NetworkAttachment:
        """An attachment with the fixed addresses of the slot where the config has them, and drawn ones elsewhere."""
        given = self.draw(config.target, fixed_addresses(config.addresses, slot), holder)
        mac = config.driver_options.get(MAC_OPTION, "") or derived_mac(given.address)
        return NetworkAttachment(
            network_id=config.target,
            address=given.address,
            aliases=config.aliases,
            address6=given.address6,
            mac=mac,
            driver_options=config.driver_options,
        )

    def draw(self, network_id: str, wanted: Iterable[str] = (), holder: Holder = "") -> GivenAddresses:
        """An address of each of the network's families: those wanted, else free ones.

        Raises:
            AllocationBlocked: there is none, or a wanted one has another holder. The message is for people.
        """
        network = self.network(network_id)
        fixed = {parse_address(text)[0]: text for text in wanted}
        for family, text in fixed.items():
            if family not in self._index.pools[network_id]:
                raise _foreign_address(network, text)
        given = {
            family: self._take_fixed(network, pool, fixed[family], holder)
            if family in fixed
            else self._take_next(network, pool)
            for family, pool in self._index.pools[network_id].items()
        }
        return GivenAddresses(given.get(4, ""), given.get(6, ""))

    def _take_fixed(self, network: Network, pool: AddressPool, text: str, holder: Holder) -> str:
        _, address = parse_address(text)
        if not pool.admits(address):
            raise _foreign_address(network, text)
        claim = (network.id, pool.family, address)
        if pool.holders.get(address, set()) - {holder} or claim in self._requested:
            raise AllocationBlocked(f"Address already in use: {text}", ("network", network.id))
        self._requested.add(claim)
        return pool.as_cidr(address)

    def _take_next(self, network: Network, pool: AddressPool) -> str:
        key = (network.id, pool.family)
        if key not in self._free:
            self._free[key] = pool.free_addresses()
        for address in self._free[key]:
            if (*key, address) not in self._requested:
                return pool.as_cidr(address)
        raise AllocationBlocked(_exhausted_message(network, pool), ("network", network.id))


def fixed_addresses(addresses: Iterable[str], slot: int) -> tuple[str, ...]:
    """The addresses of a slot, one of each family that has some. Slots count from 1; 0 is a task without a slot, which has the first."""
    at, found = max(slot - 1, 0), []
    for family in (4, 6):
        of_family = [text for text in addresses if parse_address(text)[0] == family]
        found += of_family[at : at + 1]
    return tuple(found)


def _foreign_address(network: Network, text: str) -> AllocationBlocked:
    name = network.spec.annotations.name
    return AllocationBlocked(
        f"invalid address {text}: It does not belong to any of the subnets of network {name}", ("network", network.id)
    )


def _exhausted_message(network: Network, pool: AddressPool) -> str:
    return f"could not find an available IP in network {network.spec.annotations.name}: {pool.describe()} is exhausted"
