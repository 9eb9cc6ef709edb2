"""Addresses of endpoints on the networks of this host: who holds which, and the next free one.

Invariant: two endpoints of a network never hold the same address. Invariant: a free address is given in turn, so one that was just
given back is given last. Nothing is on disk: after a restart of the daemon, `adopt` records what the containers have.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network

from agent.local_network.model import EndpointAddresses, LocalNetwork
from agent.local_network.subnets import offsets
from covey.errors import ConflictError, InvalidArgumentError, PermissionDeniedError
from covey.ipam_validation import unusable_addresses
from covey.objects.network import IPAMConfig


class AddressBook:
    """Addresses by network, and the container that holds each."""

    def __init__(self) -> None:
        self._holders: dict[str, dict[str, str]] = {}
        self._last: dict[tuple[str, str], int] = {}

    def allocate(self, network: LocalNetwork, holder: str, ipv4: str = "", ipv6: str = "") -> EndpointAddresses:
        """Addresses for an endpoint; `ipv4` and `ipv6` ask for certain ones. A holder that has addresses keeps them.

        Raises:
            InvalidArgumentError: an address is outside of the subnets. PermissionDeniedError: it is in use. ConflictError: none is free.
        """
        found4 = self._give(network, holder, 4, ipv4) if network.ipv4 else ("", "")
        try:
            found6 = self._give(network, holder, 6, ipv6) if network.ipv6 else ("", "")
        except BaseException:
            self.release(network.id, holder)
            raise
        return EndpointAddresses(ipv4=found4[0], gateway4=found4[1], ipv6=found6[0], gateway6=found6[1])

    def adopt(self, network: LocalNetwork, holder: str, *addresses: str) -> None:
        """Record what a container of an earlier daemon has. The next addresses are those after the highest of them."""
        held = self._holders.setdefault(network.id, {})
        for address in map(ip_address, filter(None, addresses)):
            held[str(address)] = holder
            for config in network.ipam.configs:
                subnet = ip_network(config.subnet)
                if address in subnet:
                    number = int(address) - int(subnet.network_address)
                    key = network.id, config.subnet
                    if number in offsets(config):
                        self._last[key] = max(number, self._last.get(key, number))

    def release(self, network_id: str, holder: str) -> None:
        held = self._holders.get(network_id, {})
        for address in [each for each, owner in held.items() if owner == holder]:
            del held[address]

    def forget(self, network_id: str) -> None:
        """The network is removed."""
        self._holders.pop(network_id, None)
        for key in [key for key in self._last if key[0] == network_id]:
            del self._last[key]

    def holders(self, network_id: str) -> frozenset[str]:
        """The containers with an address on the network."""
        return frozenset(self._holders.get(network_id, {}).values())

    def _give(self, network: LocalNetwork, holder: str, version: int, wanted: str) -> tuple[str, str]:
        configs = [config for config in network.ipam.configs if ip_network(config.subnet).version == version]
        held = self._holders.setdefault(network.id, {})
        own = next(
            (each for each, owner in held.items() if owner == holder and ip_address(each).version == version), ""
        )
        if wanted and own != wanted:
            config = config_of(network, wanted)
            unusable = unusable_addresses(ip_network(config.subnet))
            if wanted in held or wanted in _reserved(config) or ip_address(wanted) in unusable:
                raise PermissionDeniedError("Address already in use")
            held.pop(own, None)
            own = wanted
        if not own:
            own = next(self._free(network, configs, held), "")
        if not own:
            raise ConflictError(
                f"no available IPv{version} addresses on this network's address pools: {network.name} ({network.id}): "
                "disconnect containers, or create a network with a larger subnet"
            )
        held[own] = holder
        config = next(each for each in configs if ip_address(own) in ip_network(each.subnet))
        return f"{own}/{ip_network(config.subnet).prefixlen}", config.gateway

    def _free(self, network: LocalNetwork, configs: list[IPAMConfig], held: dict[str, str]) -> Iterator[str]:
        for config in configs:
            subnet, usable, reserved = ip_network(config.subnet), offsets(config), _reserved(config)
            size = usable.stop - usable.start  # a range of this size may have no len()
            if size <= 0:
                continue
            last = self._last.get((network.id, config.subnet), usable.start - 1)
            for step in range(min(size, len(held) + len(reserved) + 1)):
                number = usable.start + (last - usable.start + 1 + step) % size
                address = str(subnet[number])
                if address not in held and address not in reserved:
                    self._last[network.id, config.subnet] = number
                    yield address


def config_of(network: LocalNetwork, wanted: str) -> IPAMConfig:
    """The subnet of an address that an endpoint asks for. Raises InvalidArgumentError if it cannot ask for it."""
    address = ip_address(wanted)
    if not network.subnets_given[address.version == 6]:
        raise InvalidArgumentError(
            "user specified IP address is supported only when connecting to networks with user configured subnets"
        )
    for config in network.ipam.configs:
        if address in ip_network(config.subnet):
            return config
    raise InvalidArgumentError(f"no configured subnet contains IP address {wanted}")


def _reserved(config: IPAMConfig) -> frozenset[str]:
    """Addresses of a subnet that no endpoint gets: the gateway and the auxiliary ones."""
    named = (config.gateway, *config.auxiliary_addresses.values())
    return frozenset(str(ip_address(each)) for each in named if each)


def plain(address: str) -> str:
    """An address without its prefix length."""
    return str(ip_interface(address).ip) if address else ""
