"""Service discovery: the DNS zone of each network, derived from the network state, and what each container resolves.

Owned by `host_networks`. It changes nothing in the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.dns import zone
from agent.dns.zone import NetworkZone, Zone
from agent.dns.zone_builder import ZoneBuilder
from agent.network.model import Attachment, LocalAttachment
from agent.network.overlay_fragments import OverlayDelta
from agent.network.state import NetworkState


class ServiceDiscovery:
    """Zones by network id, as of the last `update` of each network."""

    def __init__(self) -> None:
        self._zones: dict[str, NetworkZone] = {}
        self._builders: dict[str, ZoneBuilder] = {}

    def update(
        self, state: NetworkState, network_id: str, local: Iterable[Attachment], delta: OverlayDelta | None = None
    ) -> None:
        """Derive one network's zone, or what changed of it. `local` are the attachments of this host's containers to it."""
        network = state.networks.get(network_id)
        if network is None:
            self._zones.pop(network_id, None)
            self._builders.pop(network_id, None)
            return
        aliases = [
            (alias, address)
            for attachment in local
            for alias in attachment.aliases
            for address in (attachment.ip, attachment.ip6)
            if address
        ]
        builder = self._builders.get(network_id)
        if builder is None or delta is None or delta.configuration:
            builder = self._builders[network_id] = ZoneBuilder(network.name)
            endpoint_ids = set(state.endpoints(network_id))
            service_ids = {service.service_id for service in state.services(network_id).values()}
        else:
            endpoint_ids, service_ids = delta.endpoints, delta.services
        self._zones[network_id] = builder.update(
            {each: state.endpoints(network_id).get(each) for each in endpoint_ids},
            {each: state.service(network_id, each) for each in service_ids if each},
            aliases,
        )

    def set_local_zone(self, network_id: str, found: NetworkZone | None) -> None:
        """Set the zone of a network of this host alone; None for one without names."""
        if found is None:
            self._zones.pop(network_id, None)
        else:
            self._zones[network_id] = found

    def zone_of(self, attachments: Iterable[Attachment | LocalAttachment]) -> Zone:
        """The zone of a container: its networks in the order of its interfaces."""
        ordered = sorted(attachments, key=lambda item: (len(item.interface), item.interface))
        return Zone(
            tuple(
                zone.with_links(self._zones[item.network_id], item.links)
                if isinstance(item, LocalAttachment) and item.links
                else self._zones[item.network_id]
                for item in ordered
                if item.network_id in self._zones
            )
        )
