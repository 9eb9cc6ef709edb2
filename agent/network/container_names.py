"""DNS names of the containers of this host: the zone of each, and which zones have changed.

Owned by `host_networks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.dns.zone import NetworkZone, Zone
from agent.network.container_sandboxes import ContainerSandboxes
from agent.network.model import Attachment, LocalAttachment
from agent.network.overlay_fragments import OverlayDelta
from agent.network.service_discovery import ServiceDiscovery
from agent.network.state import NetworkState


class ContainerNames:
    """One per host."""

    def __init__(self, sandboxes: ContainerSandboxes) -> None:
        self._sandboxes = sandboxes
        self._discovery = ServiceDiscovery()
        self._renamed: set[str] = set()
        self._aliased: set[str] = set()

    def mark(self, container_id: str) -> None:
        """What a container resolves has changed."""
        self._renamed.add(container_id)

    def set_local_names(self, zones: Mapping[str, NetworkZone | None]) -> None:
        """Set the names on networks of this host alone, by network id; None for one that is gone."""
        for network_id, zone in zones.items():
            self._discovery.set_local_zone(network_id, zone)
        self._renamed |= {
            sandbox.container_id
            for sandbox in self._sandboxes
            if any(each.network_id in zones for each in sandbox.local_attachments)
        }

    def set_local_attachments(self, container_id: str, attachments: Sequence[LocalAttachment]) -> None:
        """Set the networks of this host whose names a container resolves."""
        self._sandboxes.get(container_id).local_attachments = tuple(attachments)
        self._renamed.add(container_id)

    def zone(self, container_id: str) -> Zone:
        """The DNS zone of a container."""
        sandbox = self._sandboxes.get(container_id)
        return self._discovery.zone_of((*sandbox.attachments.values(), *sandbox.local_attachments))

    def take_renamed(self) -> dict[str, Zone]:
        """The DNS zones of the containers for which names changed since the last call, by container id."""
        renamed, self._renamed = self._renamed, set()
        return {container_id: self.zone(container_id) for container_id in renamed if container_id in self._sandboxes}

    def update(
        self, state: NetworkState, network_id: str, local: Mapping[str, Attachment], delta: OverlayDelta
    ) -> None:
        """Take over changes of an overlay network, to which the containers `local` are attached."""
        had_aliases = network_id in self._aliased
        if any(each.aliases for each in local.values()):
            self._aliased.add(network_id)
        else:
            self._aliased.discard(network_id)
        if delta.configuration or delta.services or had_aliases or network_id in self._aliased:
            self._discovery.update(state, network_id, local.values(), delta)
            self._renamed |= set(local)
