"""All networks of one host, brought to the cluster's state: creates, updates and removes them in the kernel.

Invariant: the kernel is the record of what was done, so a restarted daemon finds it again.
Invariant: a network that fails does not stop the others. The failure is returned and the next `apply` retries.

Called by `driver` alone, on the driver's thread and never on the event loop's.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from agent.dns.zone import NetworkZone, Zone
from agent.network import fdb, firewall, links, netns
from agent.network.container_sandboxes import ContainerSandboxes
from agent.network.model import (
    Attachment,
    HostRoute,
    LocalAttachment,
    NetworkChanges,
    NetworkFailure,
    TunnelEndpoint,
)
from agent.network.netns import Namespace
from agent.network.overlays import Overlays
from agent.network.sandbox import Sandbox
from agent.network.service_discovery import ServiceDiscovery
from agent.network.state import NetworkState
from covey.errors import CoveyError, NotFoundError

logger = logging.getLogger(__name__)


class HostNetworks:
    """Joins the state, the overlays, the container sandboxes and service discovery of one host."""

    def __init__(self, host_address: str, run_dir: Path, gateway_bridge: str, host_netns: str) -> None:
        self.namespace = Namespace(host_netns) if host_netns else netns.current_namespace()
        self.sandboxes = ContainerSandboxes(run_dir / "netns" / "containers")
        self.overlays = Overlays(run_dir / "netns" / "networks", self.namespace, host_address)
        self._gateway_bridge = gateway_bridge
        self._state = NetworkState()
        self._discovery = ServiceDiscovery()
        self._failed: set[str] = set()
        self.warnings: tuple[str, ...] = ()

    def start(self) -> None:
        """Find what an earlier process left, and check the host's firewall."""
        self.overlays.prepare()
        self.sandboxes.prepare()
        self.warnings = self._firewall_warnings()
        for text in self.warnings:
            logger.warning("%s", text.removeprefix("WARNING: "))

    def close(self) -> None:
        self.sandboxes.close()
        self.overlays.close()
        self.namespace.close()

    def set_endpoint(self, endpoint: TunnelEndpoint) -> None:
        if endpoint == self.overlays.endpoint:
            return
        self.overlays.set_endpoint(endpoint)
        for failure in self._reconcile({*self.overlays.ids(), *self._failed}):
            logger.warning("network %s on the new address %s: %s", failure.network_id, endpoint.address, failure.reason)

    def apply(self, changes: NetworkChanges) -> tuple[NetworkFailure, ...]:
        """Apply changes of the cluster. Networks that failed before are tried again."""
        return self._reconcile({*self._state.apply(changes), *self._failed})

    def create_sandbox(self, container_id: str) -> Sandbox:
        if container_id not in self.sandboxes:
            sandbox = self.sandboxes.open(container_id)
            try:
                self._update_backends(sandbox)
            except BaseException:
                sandbox.remove()
                raise
            self.sandboxes.add(sandbox)
        return self.sandboxes.get(container_id)

    def adopt(self, container_id: str, attachments: Sequence[Attachment]) -> Sandbox:
        """Adopt the sandbox of a running container. The interfaces are assumed to exist; `attach` repairs one that does not."""
        sandbox = self.sandboxes.open_existing(container_id)
        self.sandboxes.add(sandbox)
        sandbox.attachments = {attachment.network_id: attachment for attachment in attachments}
        for network_id in sandbox.attachments:
            self._update_discovery(network_id)
        self._update_backends(sandbox)
        for network_id in sandbox.attachments:
            try:
                self._set_container_mtu(sandbox, network_id)
            except (CoveyError, OSError) as error:
                self._failed.add(network_id)
                logger.warning("container %s keeps its old MTU for now: %s", container_id[:12], error)
        return sandbox

    def attach(self, container_id: str, attachment: Attachment) -> None:
        """Join the container to an overlay network. Raises NotFoundError when the network was not applied before."""
        sandbox = self.sandboxes.get(container_id)
        network = self._state.networks.get(attachment.network_id)
        if network is None:
            raise NotFoundError(f"network {attachment.network_id} is not known on this host yet")
        self.overlays.ensure(network).attach(sandbox.namespace, container_id, attachment)
        sandbox.attachments[network.id] = attachment
        self._reconcile_network(network.id)

    def detach(self, container_id: str, network_id: str) -> None:
        sandbox = self.sandboxes.get(container_id)
        attachment = sandbox.attachments.pop(network_id, None)
        if attachment is not None:
            self._detach(container_id, attachment)
            self._update_backends(sandbox)

    def destroy_sandbox(self, container_id: str) -> None:
        sandbox = self.sandboxes.remove(container_id)
        if sandbox is not None:
            for attachment in sandbox.attachments.values():
                self._detach(container_id, attachment)

    def clean(self) -> tuple[str, ...]:
        """Remove sandboxes that were not adopted and networks that are neither known nor used. Returns their names.

        A network that failed keeps its namespace while a container is attached to it. The next try adopts it.
        """
        removed = [f"container {key}" for key in self.clean_sandboxes()]
        removed += [f"network {key}" for key in self.overlays.remove_unused(self.sandboxes.used_networks())]
        return tuple(removed)

    def clean_sandboxes(self, kept: Collection[str] = ()) -> tuple[str, ...]:
        """Remove sandboxes that were not adopted, except those of the containers `kept`. Returns the ids of their containers."""
        unused = tuple(key for key in self.sandboxes.paths() if key not in self.sandboxes and key not in kept)
        for container_id in unused:
            self.destroy_sandbox(container_id)
        return unused

    def remove_everything(self) -> None:
        """Remove all containers' sandboxes and all networks of the cluster."""
        for container_id in self.sandboxes.paths():
            self.destroy_sandbox(container_id)
        self._state = NetworkState()
        for network_id in self.overlays.ids():
            self.overlays.remove(network_id)
        self.clean()

    def set_local_names(self, zones: Mapping[str, NetworkZone | None]) -> None:
        """Set the names on networks of this host alone, by network id; None for one that is gone."""
        for network_id, zone in zones.items():
            self._discovery.set_local_zone(network_id, zone)

    def set_local_attachments(self, container_id: str, attachments: Sequence[LocalAttachment]) -> None:
        """Set the networks of this host whose names a container resolves."""
        self.sandboxes.get(container_id).local_attachments = tuple(attachments)

    def addresses(self) -> tuple[str, ...]:
        """The host's own addresses of both families, without loopback, link-local ones and those of Covey's devices."""
        return links.run_in_namespace(self.namespace, "read the host's addresses", links.host_addresses)

    def routes(self) -> tuple[HostRoute, ...]:
        """The routes of the host's main table, with their devices; without default routes."""
        return links.run_in_namespace(self.namespace, "read the routes", links.host_routes)

    def zones(self) -> dict[str, Zone]:
        """The DNS zone of each container, by container id."""
        return {
            sandbox.container_id: self._discovery.zone_of((*sandbox.attachments.values(), *sandbox.local_attachments))
            for sandbox in self.sandboxes
        }

    def _reconcile(self, network_ids: Iterable[str]) -> tuple[NetworkFailure, ...]:
        failures: list[NetworkFailure] = []
        for network_id in sorted(network_ids):
            try:
                self._reconcile_network(network_id)
                self._failed.discard(network_id)
            except (CoveyError, OSError) as error:
                self._failed.add(network_id)
                failures.append(NetworkFailure(network_id, str(error)))
        return tuple(failures)

    def _reconcile_network(self, network_id: str) -> None:
        """Bring one network's sandbox, forwarding entries, names and VIPs to the desired state."""
        network = self._state.networks.get(network_id)
        attached = self.sandboxes.attached_to(network_id)
        self._update_discovery(network_id)
        if network is not None:
            overlay = self.overlays.ensure(network)
            local = {sandbox.attachments[network_id].ip for sandbox in attached}
            endpoints = self._state.endpoints(network_id).values()
            overlay.program_fdb(fdb.remote_hosts(endpoints, self.overlays.host_address, local))
        elif not attached:
            self.overlays.remove(network_id)
        for sandbox in attached:
            self._update_backends(sandbox)
        for sandbox in attached:
            self._set_container_mtu(sandbox, network_id)

    def _update_discovery(self, network_id: str) -> None:
        local = [sandbox.attachments[network_id] for sandbox in self.sandboxes.attached_to(network_id)]
        self._discovery.update(self._state, network_id, local)

    def _update_backends(self, sandbox: Sandbox) -> None:
        sandbox.update_backends(self._discovery.backends_of(sandbox.attachments))

    def _set_container_mtu(self, sandbox: Sandbox, network_id: str) -> None:
        overlay = self.overlays.get(network_id)
        if overlay is not None:
            interface = sandbox.attachments[network_id].interface
            overlay.set_container_mtu(sandbox.namespace, sandbox.container_id, interface)

    def _detach(self, container_id: str, attachment: Attachment) -> None:
        overlay = self.overlays.get(attachment.network_id)
        if overlay is not None:
            overlay.detach(container_id, attachment.interface)
        for failure in self._reconcile((attachment.network_id,)):
            logger.warning(
                "network %s after container %s left it: %s", failure.network_id, container_id[:12], failure.reason
            )

    def _firewall_warnings(self) -> tuple[str, ...]:
        try:
            return firewall.warnings(self.namespace, self._gateway_bridge)
        except (CoveyError, OSError) as error:
            logger.debug("the host's firewall could not be checked: %s", error)
            return ()
