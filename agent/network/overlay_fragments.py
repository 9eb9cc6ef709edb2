"""Fragments of one overlay network on this host, from the cluster's state and the containers that are attached here. Pure.

Invariant: an address of a local container is local, whatever the managers still say of it.
Invariant: the cost of a change follows the number of endpoints, services and containers that it concerns.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agent.network.backends import BackendTable
from agent.network.model import Attachment, OverlayNetwork, TunnelEndpoint
from agent.network.namespace_state import Fragment, network_key
from agent.network.plan import overlay as overlays
from agent.network.plan import vips
from agent.network.plan.encryption import ANY_SOURCE
from agent.network.plan.overlay import Overlay, OverlayEndpoint, OverlayInterface
from agent.network.plan.vips import Vip
from agent.network.state import NetworkDelta, NetworkState
from covey.mac_address import derived_mac
from covey.objects.assignment import NetworkEndpoint


class OverlayDelta(msgspec.Struct, kw_only=True):
    """Parts of a network whose fragments are made again, and the ids of endpoints whose names are."""

    configuration: bool = False
    endpoints: set[str] = msgspec.field(default_factory=set)
    addresses: set[str] = msgspec.field(default_factory=set)
    services: set[str] = msgspec.field(default_factory=set)
    containers: set[str] = msgspec.field(default_factory=set)

    def add(self, key: str) -> None:
        """Add the part that a fragment's key names."""
        _, _, kind, *rest = key.split("/", 3)
        if kind in _KINDS:
            getattr(self, _KINDS[kind]).add(rest[0])
        else:
            self.configuration = True

    def update(self, delta: NetworkDelta) -> None:
        self.configuration |= delta.configuration
        self.endpoints |= delta.endpoints
        self.addresses |= delta.addresses
        self.services |= delta.services


_KINDS = {"address": "addresses", "service": "services", "interface": "containers"}


def base_key(network_id: str) -> str:
    return f"network/{network_id}/sandbox"


def interface_key(network_id: str, container_id: str) -> str:
    return f"network/{network_id}/interface/{container_id}"


def plan_network(network: OverlayNetwork, tunnel: TunnelEndpoint, mtu: int, prefix: str) -> Overlay:
    """The network as this host carries it."""
    gateways = tuple(f"{each.gateway}/{each.subnet.partition('/')[2]}" for each in network.subnets if each.gateway)
    ipv4 = [each.gateway or each.subnet for each in network.subnets if ":" not in each.subnet]
    return Overlay(
        id=network.id,
        prefix=prefix,
        vni=network.vni,
        mtu=mtu,
        host=tunnel.address,
        source=ANY_SOURCE if network.encrypted else tunnel.address,
        port=tunnel.port,
        mac=derived_mac(ipv4[0]) if ipv4 else "",
        multicast=network.multicast,
        gateways=gateways,
        subnets=tuple(each.subnet for each in network.subnets if not each.gateway),
    )


def whole(state: NetworkState, network_id: str, attached: Mapping[str, Attachment]) -> OverlayDelta:
    """All parts of a network."""
    return OverlayDelta(
        configuration=True,
        addresses=state.addresses(network_id),
        services={service.service_id for service in state.services(network_id).values()},
        containers=set(attached),
    )


def plan_changes(
    state: NetworkState,
    overlay: Overlay,
    attached: Mapping[str, Attachment],
    delta: OverlayDelta,
    backends: Mapping[str, BackendTable],
) -> dict[str, Fragment | None]:
    """The fragments of the changed parts, by key; None for those that are wanted no more.

    `attached` are the local containers' interfaces by container, `backends` those of the changed services.
    """
    prefix = f"network/{overlay.id}"
    changes: dict[str, Fragment | None] = {}
    if delta.configuration:
        changes[base_key(overlay.id)] = overlays.network(overlay)
        changes[f"{prefix}/vips"] = vips.base(overlay.id, ipv6=overlay.has_ipv6)
    for container_id in attached if delta.configuration else delta.containers:
        attachment = attached.get(container_id)
        changes[interface_key(overlay.id, container_id)] = (
            None if attachment is None else _interface_fragment(overlay, container_id, attachment)
        )
    # A remote endpoint's fragment names the tunnel's id, which is part of the configuration.
    addresses = state.addresses(overlay.id) | delta.addresses if delta.configuration else delta.addresses
    local = {attachment.ip for attachment in attached.values()} if addresses else set()
    for address in addresses:
        endpoint = None if address in local else state.owner(overlay.id, address)
        changes[f"{prefix}/address/{address}"] = (
            overlays.remote_endpoint(overlay, _remote(endpoint))
            if endpoint is not None and endpoint.host not in {"", overlay.host}
            else None
        )
    for service_id in filter(None, delta.services):
        table = backends.get(service_id, {})
        found = [
            Vip(service_id=service_id, address=address, backends=held.ready, host=overlay.host)
            for address, held in sorted(table.items())
        ]
        changes[f"{prefix}/service/{service_id}"] = vips.service(overlay.id, found) if found else None
    return changes


def _interface_fragment(overlay: Overlay, container_id: str, attachment: Attachment) -> Fragment:
    """The container's interface, and what tells a connection to itself."""
    fragment = overlays.interface(overlay, _interface(container_id, attachment))
    key = network_key(overlay.id)
    own = vips.own_addresses(tuple(filter(None, (attachment.ip, attachment.ip6))))
    return {**fragment, key: msgspec.structs.replace(fragment[key], tables=own)}


def _interface(container_id: str, attachment: Attachment) -> OverlayInterface:
    return OverlayInterface(
        container_id=container_id,
        name=attachment.interface,
        mac=attachment.hardware_address,
        addresses=tuple(filter(None, (attachment.address, attachment.address6))),
    )


def _remote(endpoint: NetworkEndpoint) -> OverlayEndpoint:
    return OverlayEndpoint(
        address=endpoint.address,
        address6=endpoint.address6,
        mac=endpoint.mac or derived_mac(endpoint.address),
        host=endpoint.host,
    )
