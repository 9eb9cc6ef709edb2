"""The networks of this host: lookup, creation, removal and prune, and which container uses which.

Invariant: a network exists once its row is written. A network with an endpoint or a dependent network is not removed.
Called by `agent.endpoint`, which owns the kernel's side, and through it by the Engine API.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path

import msgspec

from agent.event_bus import EventBus
from agent.local_network import creation, subnets
from agent.local_network.addresses import AddressBook
from agent.local_network.creation import HostFacts
from agent.local_network.model import (
    BRIDGE,
    BRIDGE_NAME,
    PREDEFINED,
    PREDEFINED_DRIVERS,
    LocalNetwork,
    NetworkEvent,
    NetworkRequirements,
    device_name,
    predefined_id,
)
from agent.local_network.options import DEFAULT_BRIDGE, DEFAULT_MTU, HOST_BINDING, ICC, MASQUERADE, MTU
from agent.local_network.store import LocalNetworkStore
from agent.network.model import HostRoute
from covey.default_bridge import DefaultBridge, ipam_config
from covey.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError
from covey.network_pools import AddressPool
from covey.objects.network import IPAM, IPAMConfig


class LocalNetworks:
    """One per daemon. `bridge` is the device of the network of that name; `pools` replace Docker's default address pools."""

    def __init__(
        self,
        path: Path,
        *,
        engine_id: str,
        bridge: str,
        pools: Sequence[AddressPool] = (),
        settings: DefaultBridge | None = None,
    ) -> None:
        self._engine_id = engine_id
        self._pool6 = subnets.unique_local_pool(engine_id)
        self._path = path
        self._bridge = bridge
        self._pools = tuple(pools)
        self._settings = settings or DefaultBridge()
        self._store: LocalNetworkStore | None = None
        self._networks: dict[str, LocalNetwork] = {}
        self.addresses = AddressBook()
        self.events = EventBus[NetworkEvent]()

    def open(self, routes: Sequence[HostRoute]) -> None:
        """Load the networks; at the first start make the predefined ones."""
        self._store = LocalNetworkStore(self._path)
        self._networks = {network.id: network for network in self._store.load()}
        names = {network.name for network in self._networks.values()}
        for name in PREDEFINED:
            if name not in names:
                self._insert(self._predefined(name, routes))
            elif name == BRIDGE:
                self._configure_bridge(routes)

    def close(self) -> None:
        self.events.close()
        if self._store is not None:
            self._store.close()
            self._store = None

    def list(self) -> list[LocalNetwork]:
        return list(self._networks.values())

    def get(self, ref: str) -> LocalNetwork:
        """The network with this id, name or unique beginning of an id. Raises NotFoundError, InvalidArgumentError."""
        found = self.find(ref)
        if found is None:
            raise NotFoundError(f"network {ref} not found")
        return found

    def find(self, ref: str) -> LocalNetwork | None:
        """As `get`, but None if there is none."""
        if ref in self._networks:
            return self._networks[ref]
        named = [each for each in self._networks.values() if each.name == ref]
        if named:
            return named[0]
        begun = [each for each in self._networks.values() if ref and each.id.startswith(ref)]
        if len(begun) > 1:
            raise InvalidArgumentError(f"network {ref} is ambiguous ({len(begun)} matches found based on ID prefix)")
        return begun[0] if begun else None

    def plan(
        self, wanted: NetworkRequirements, routes: Sequence[HostRoute], now_ns: int, *, cluster_id: str = ""
    ) -> LocalNetwork:
        """The network that `add` would make, or this node's part of the network of the cluster with an id.

        Raises CoveyError in Docker's words.
        """
        facts = HostFacts(
            networks=self.list(),
            routes=self._foreign(routes),
            pools4=[pool for pool in self._pools if ":" not in pool.base] or subnets.DEFAULT_POOLS,
            pools6=[*(pool for pool in self._pools if ":" in pool.base), self._pool6],
        )
        network_id = cluster_id or secrets.token_hex(32)
        planned = creation.plan_network(wanted, facts, network_id=network_id, now_ns=now_ns)
        return msgspec.structs.replace(planned, of_cluster=bool(cluster_id))

    def add(self, network: LocalNetwork) -> None:
        self._insert(network)
        self.emit("create", network)

    def check_removable(self, network: LocalNetwork) -> None:
        """Raises PermissionDeniedError in Docker's words if it is predefined or in use."""
        if network.is_predefined:
            raise PermissionDeniedError(f"{network.name} is a pre-defined network and cannot be removed")
        if network.config_only and self.dependents(network):
            raise PermissionDeniedError(
                f'error while removing network: configuration network "{network.name}" is in use'
            )
        if self.addresses.holders(network.id):
            raise PermissionDeniedError(
                f"error while removing network: network {network.name} id {network.id} has active endpoints"
            )

    def is_used(self, network: LocalNetwork) -> bool:
        """Whether a container is connected to it, or another network depends on it."""
        return bool(self.addresses.holders(network.id) or self.dependents(network))

    def dependents(self, network: LocalNetwork) -> tuple[LocalNetwork, ...]:
        """The networks that have their configuration from this one."""
        return tuple(each for each in self._networks.values() if each.config_from == network.name)

    def remove(self, network: LocalNetwork) -> None:
        self._opened().delete(network.id)
        del self._networks[network.id]
        self.addresses.forget(network.id)
        self.emit("destroy", network)

    def emit(self, action: str, network: LocalNetwork, attributes: Mapping[str, str] | None = None) -> None:
        """Publish an event."""
        own = {"name": network.name, "type": network.driver}
        self.events.emit(NetworkEvent(time.time_ns(), action, network.id, {**(attributes or {}), **own}))

    def _insert(self, network: LocalNetwork) -> None:
        self._opened().insert(network)
        self._networks[network.id] = network

    def _foreign(self, routes: Sequence[HostRoute]) -> tuple[HostRoute, ...]:
        """The routes of others: not those of this host's networks."""
        own = {device_name(network) for network in self._networks.values()}
        return tuple(route for route in routes if route.device not in own)

    def _predefined(self, name: str, routes: Sequence[HostRoute]) -> LocalNetwork:
        found = LocalNetwork(
            id=predefined_id(name, self._engine_id),
            name=name,
            driver=PREDEFINED_DRIVERS[name],
            created_at_ns=time.time_ns(),
        )
        if name != BRIDGE:
            return found
        return self._configured(found, routes)

    def _configure_bridge(self, routes: Sequence[HostRoute]) -> None:
        """Bring the network `bridge` of an earlier start to the daemon's options."""
        before = self.get(BRIDGE)
        wanted = self._configured(before, routes)
        if wanted != before:
            self._opened().replace(wanted)
            self._networks[wanted.id] = wanted

    def _configured(self, bridge: LocalNetwork, routes: Sequence[HostRoute]) -> LocalNetwork:
        """The network `bridge` as the daemon's options say. Subnets that they leave open stay, or the host chooses them."""
        settings = self._settings
        others = creation.network_subnets([each for each in self.list() if each.id != bridge.id])
        pools = {
            4: [pool for pool in self._pools if ":" not in pool.base] or subnets.DEFAULT_POOLS,
            6: [*(pool for pool in self._pools if ":" in pool.base), self._pool6],
        }
        ranges = {4: (settings.bip, settings.fixed_cidr), 6: (settings.bip6, settings.fixed_cidr6)}
        configs = []
        for version in (4, 6) if settings.ipv6 else (4,):
            config = ipam_config(*ranges[version])
            if config is not None:
                subnets.check_free([ip_network(config.subnet)], others, self._foreign(routes))
            config = config or next((one for one in bridge.ipam.configs if _version(one) == version), None)
            if config is None:
                config = IPAMConfig(subnet=str(subnets.choose_subnet(pools[version], others, self._foreign(routes))))
            configs.append(subnets.complete(config, with_gateway=True))
        options = {
            DEFAULT_BRIDGE: "true",
            ICC: str(settings.icc).lower(),
            MASQUERADE: str(settings.masquerade).lower(),
            HOST_BINDING: settings.binding or "0.0.0.0",
            BRIDGE_NAME: self._bridge,
            MTU: str(settings.mtu or DEFAULT_MTU),
        }
        return msgspec.structs.replace(bridge, ipv6=settings.ipv6, ipam=IPAM(configs=tuple(configs)), options=options)

    def _opened(self) -> LocalNetworkStore:
        if self._store is None:
            raise RuntimeError("the networks of this host are not open")
        return self._store


def _version(config: IPAMConfig) -> int:
    return ip_network(config.subnet).version
