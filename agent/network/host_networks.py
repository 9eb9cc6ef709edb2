"""All networks of one host, brought to the cluster's state: creates, updates and removes them in the kernel.

Invariant: the kernel is the record of what was done, so a restarted daemon finds it again.
Invariant: a network that fails does not stop the others. The failure is returned and the next `apply` retries.

Called by `driver` alone, on the driver's thread and never on the event loop's.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from agent.dns import zone
from agent.dns.zone import NetworkZone, Zone
from agent.network import fdb, firewall, links, mtu, netns, vip_lb
from agent.network.conntrack import BackendTable
from agent.network.model import Attachment, NetworkChanges, NetworkFailure, OverlayNetwork
from agent.network.mtu import Underlay
from agent.network.netns import Namespace
from agent.network.outbound_nat import OutboundNat
from agent.network.overlay import OverlaySandbox
from agent.network.sandbox import Sandbox
from agent.network.state import NetworkState
from covey.errors import CoveyError, InvalidArgumentError, NotFoundError, UnavailableError

logger = logging.getLogger(__name__)


class HostNetworks:
    """The networks of one host. `sandboxes` are those adopted or made in this life."""

    def __init__(self, host_address: str, run_dir: Path, gateway_bridge: str, host_netns: str) -> None:
        self._host_address = host_address
        self._network_dir = run_dir / "netns" / "networks"
        self._sandbox_dir = run_dir / "netns" / "containers"
        self.namespace = Namespace(host_netns) if host_netns else netns.current_namespace()
        self._world = NetworkState()
        self._overlays: dict[str, OverlaySandbox] = {}
        self._unsettled: set[str] = set()
        self.sandboxes: dict[str, Sandbox] = {}
        self._names: dict[str, NetworkZone] = {}
        self._tables: dict[str, BackendTable] = {}
        self._egress = OutboundNat(self.namespace, gateway_bridge)
        self._gateway_bridge = gateway_bridge
        self._underlay: Underlay | None = None
        self.warnings: tuple[str, ...] = ()

    def start(self) -> None:
        for folder in (self._network_dir, self._sandbox_dir):
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                if not netns.is_namespace(path):
                    path.unlink()
        self._egress.adopt_bridge()
        self._remember_ways_out()
        self.warnings = self._look_at_the_firewall()
        for text in self.warnings:
            logger.warning("%s", text.removeprefix("WARNING: "))

    def close(self) -> None:
        for sandbox in self.sandboxes.values():
            sandbox.close()
        for overlay in self._overlays.values():
            overlay.close()
        self.namespace.close()

    def set_host_address(self, host_address: str) -> None:
        if host_address != self._host_address:
            self._host_address = host_address
            self._underlay = None
            for failure in self._settle(sorted(self._overlays.keys() | self._unsettled)):
                logger.warning("network %s on the new address %s: %s", failure.network_id, host_address, failure.reason)

    def apply(self, changes: NetworkChanges) -> tuple[NetworkFailure, ...]:
        touched = self._world.apply(changes)
        return self._settle(sorted({*touched, *self._unsettled}))

    def ensure_network(self, network: OverlayNetwork) -> None:
        touched = self._world.apply(NetworkChanges(networks=(network,)))
        if touched or network.id not in self._overlays or network.id in self._unsettled:
            self._settle_network(network.id)
            self._unsettled.discard(network.id)

    def remove_network(self, network_id: str) -> None:
        for failure in self.apply(NetworkChanges(removed_networks=(network_id,))):
            if failure.network_id == network_id:
                raise NotFoundError(failure.reason)

    def create_sandbox(self, container_id: str) -> Sandbox:
        _check_id(container_id)
        if container_id not in self.sandboxes:
            sandbox = Sandbox(container_id, self._sandbox_dir / container_id)
            try:
                self._rebalance(sandbox)
            except BaseException:
                sandbox.remove()
                raise
            self.sandboxes[container_id] = sandbox
        return self.sandboxes[container_id]

    def adopt(self, container_id: str, attachments: Sequence[Attachment]) -> Sandbox:
        """Attachments are taken as standing; `attach` afterwards mends one that is not."""
        _check_id(container_id)
        path = self._sandbox_dir / container_id
        if not netns.is_namespace(path):
            raise NotFoundError(
                f"container {container_id[:12]} has no network namespace at {path}; it cannot be adopted"
            )
        sandbox = self.sandboxes.get(container_id) or Sandbox(container_id, path)
        self.sandboxes[container_id] = sandbox
        sandbox.attachments = {attachment.network_id: attachment for attachment in attachments}
        for network_id in sandbox.attachments:
            self._learn(network_id)
        self._rebalance(sandbox)
        for network_id in sandbox.attachments:
            try:
                self._fit(sandbox, network_id)
            except (CoveyError, OSError) as error:
                self._unsettled.add(network_id)
                logger.warning("container %s is adopted with its old MTU: %s", container_id[:12], error)
        return sandbox

    def attach(self, container_id: str, attachment: Attachment) -> None:
        sandbox = self._sandbox(container_id)
        network = self._world.networks.get(attachment.network_id)
        if network is None:
            raise NotFoundError(f"network {attachment.network_id} is not known on this host yet")
        if attachment.network_id not in self._overlays:
            self._settle_network(network.id)
        self._overlays[network.id].attach(sandbox.namespace, container_id, attachment)
        sandbox.attachments[network.id] = attachment
        self._settle_network(network.id)

    def detach(self, container_id: str, network_id: str) -> None:
        sandbox = self._sandbox(container_id)
        attachment = sandbox.attachments.pop(network_id, None)
        if attachment is not None:
            self._leave(container_id, attachment)
            self._rebalance(sandbox)

    def attach_outbound(self, container_id: str, interface: str, *, isolated: bool) -> str:
        return self._egress.attach(self._sandbox(container_id).namespace, container_id, interface, isolated=isolated)

    def destroy_sandbox(self, container_id: str) -> None:
        _check_id(container_id)
        sandbox = self.sandboxes.pop(container_id, None)
        path = self._sandbox_dir / container_id
        if sandbox is not None:
            sandbox.remove()
            for attachment in sandbox.attachments.values():
                self._leave(container_id, attachment)
        elif path.exists():
            _remove_namespace(path)
        self._egress.release_address(container_id)

    def clean_conntrack_of_one(self) -> bool:
        """End the stale connections of one container that is due; False when none was."""
        due = next((sandbox for sandbox in self.sandboxes.values() if sandbox.conntrack_cleanup_due), None)
        if due is not None:
            try:
                due.delete_stale_connections()
            except (CoveyError, OSError) as error:
                logger.warning(
                    "container %s keeps connections to tasks that are gone: %s", due.container_id[:12], error
                )
        return due is not None

    def list_sandboxes(self) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in self._sandbox_dir.iterdir()))

    def clean(self) -> tuple[str, ...]:
        """A network that did not settle yet keeps its namespace while a container hangs on it: the next try takes it over."""
        removed: list[str] = []
        for container_id in self.list_sandboxes():
            if container_id not in self.sandboxes:
                self.destroy_sandbox(container_id)
                removed.append(f"container {container_id}")
        used = {network_id for sandbox in self.sandboxes.values() for network_id in sandbox.attachments}
        for path in sorted(self._network_dir.iterdir()):
            if path.name not in self._overlays and path.name not in used:
                _remove_namespace(path)
                removed.append(f"network {path.name}")
        return tuple(removed)

    def remove_everything(self) -> None:
        """The host leaves the cluster for good, or a test is over."""
        for container_id in self.list_sandboxes():
            self.destroy_sandbox(container_id)
        self._world = NetworkState()
        for network_id in tuple(self._overlays):
            self._overlays.pop(network_id).remove()
        self.clean()
        if self._egress.subnet is not None:
            self._egress.remove()

    def zones(self) -> dict[str, Zone]:
        """What each container may know."""
        return {container_id: self._zone(container_id) for container_id in self.sandboxes}

    def _zone(self, container_id: str) -> Zone:
        """Its networks in the order of its interfaces."""
        ordered = sorted(
            self.sandboxes[container_id].attachments.values(), key=lambda item: (len(item.interface), item.interface)
        )
        return Zone(tuple(self._names[item.network_id] for item in ordered if item.network_id in self._names))

    def _sandbox(self, container_id: str) -> Sandbox:
        if container_id not in self.sandboxes:
            raise NotFoundError(f"container {container_id[:12]} has no network sandbox; create or adopt it first")
        return self.sandboxes[container_id]

    def _settle(self, network_ids: Iterable[str]) -> tuple[NetworkFailure, ...]:
        failures: list[NetworkFailure] = []
        for network_id in network_ids:
            try:
                self._settle_network(network_id)
                self._unsettled.discard(network_id)
            except (CoveyError, OSError) as error:
                self._unsettled.add(network_id)
                failures.append(NetworkFailure(network_id, str(error)))
        return tuple(failures)

    def _settle_network(self, network_id: str) -> None:
        """Bring one network's sandbox, entries, names and service addresses to what the world says."""
        network = self._world.networks.get(network_id)
        users = [sandbox for sandbox in self.sandboxes.values() if network_id in sandbox.attachments]
        self._learn(network_id)
        if network is None and not users:
            self._remove_network(network_id)
        if network is not None:
            if not self._host_address:
                raise UnavailableError(
                    f"network {network.name} needs this host's cluster address, and the host is in no cluster"
                )
            overlay = self._overlay(network)
            local = {sandbox.attachments[network_id].ip for sandbox in users}
            overlay.program_fdb(fdb.remote_hosts(self._world.endpoints(network_id).values(), self._host_address, local))
        for sandbox in users:
            self._rebalance(sandbox)
        for sandbox in users:
            self._fit(sandbox, network_id)

    def _fit(self, sandbox: Sandbox, network_id: str) -> None:
        """Its interface carries as much as the network does here now."""
        overlay = self._overlays.get(network_id)
        if overlay is not None:
            overlay.set_container_mtu(
                sandbox.namespace, sandbox.container_id, sandbox.attachments[network_id].interface
            )

    def _overlay(self, network: OverlayNetwork) -> OverlaySandbox:
        """As the network, the host's address and its underlay are now."""
        new = network.id not in self._overlays
        if new or self._underlay is None:
            self._underlay = Underlay(
                *links.run_in_namespace(
                    self.namespace, "read the MTU", lambda route: links.underlay_device(route, self._host_address)
                )
            )
        size = mtu.choose_mtu(network.name, network.mtu, self._underlay)
        if new:
            path = self._network_dir / network.id
            self._overlays[network.id] = OverlaySandbox(network, path, self.namespace, self._host_address, size)
        overlay = self._overlays[network.id]
        overlay.update(network, self._host_address, size)
        return overlay

    def _remove_network(self, network_id: str) -> None:
        """Its namespace, also one of an earlier life that never settled in this one."""
        overlay = self._overlays.pop(network_id, None)
        if overlay is not None:
            overlay.remove()
        elif netns.is_namespace(path := self._network_dir / network_id):
            _remove_namespace(path)

    def _learn(self, network_id: str) -> None:
        """Its names and service addresses, from what the world says now."""
        network = self._world.networks.get(network_id)
        if network is None:
            self._names.pop(network_id, None)
            self._tables.pop(network_id, None)
            return
        endpoints, services = self._world.endpoints(network_id).values(), self._world.services(network_id).values()
        self._tables[network_id] = BackendTable(
            vip_lb.all_backends(services, endpoints), vip_lb.ready_backends(services, endpoints)
        )
        extra = [
            (alias, sandbox.attachments[network_id].ip)
            for sandbox in self.sandboxes.values()
            if network_id in sandbox.attachments
            for alias in sandbox.attachments[network_id].aliases
        ]
        self._names[network_id] = zone.build_network_zone(network.name, endpoints, services, extra)

    def _rebalance(self, sandbox: Sandbox) -> None:
        tables = [self._tables[network_id] for network_id in sandbox.attachments if network_id in self._tables]
        known: dict[str, Collection[str]] = {}
        ready: dict[str, tuple[str, ...]] = {}
        for table in tables:
            known |= table.all
            ready |= table.ready
        sandbox.update_backends(BackendTable(known, ready))

    def _leave(self, container_id: str, attachment: Attachment) -> None:
        overlay = self._overlays.get(attachment.network_id)
        if overlay is not None:
            overlay.detach(container_id, attachment.interface)
        for failure in self._settle((attachment.network_id,)):
            logger.warning(
                "after container %s left network %s: %s", container_id[:12], failure.network_id, failure.reason
            )

    def _look_at_the_firewall(self) -> tuple[str, ...]:
        try:
            return firewall.warnings(self.namespace, self._gateway_bridge)
        except (CoveyError, OSError) as error:
            logger.debug("the host's firewall could not be looked at: %s", error)
            return ()

    def _remember_ways_out(self) -> None:
        subnet = self._egress.subnet
        if subnet is None:
            return

        def read(route: Any) -> list[str]:
            return [item.get_attr("IFA_ADDRESS") for item in route.get_addr(family=2)]

        for container_id in self.list_sandboxes():
            namespace = Namespace(str(self._sandbox_dir / container_id))
            try:
                for address in links.run_in_namespace(
                    namespace, f"read the addresses of container {container_id[:12]}", read
                ):
                    if IPv4Address(address) in subnet:
                        self._egress.restore_address(container_id, address)
            finally:
                namespace.close()


def _check_id(container_id: str) -> None:
    if not container_id or "/" in container_id or container_id.startswith("."):
        raise InvalidArgumentError(f"{container_id!r} is no container id")


def _remove_namespace(path: Path) -> None:
    if netns.is_namespace(path):
        namespace = Namespace(str(path))
        try:
            links.run_in_namespace(namespace, f"remove what is left in {path.name}", links.delete_all_links)
        finally:
            namespace.close()
    netns.remove(path)
