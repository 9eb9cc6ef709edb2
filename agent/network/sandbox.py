"""Network sandbox of one container: its namespace, its DNS resolver's sockets and its VIP table.

Invariant: the namespace is named on disk and outlives the daemon.
Invariant: one nftables transaction brings the VIPs from the programmed backends to the desired ones.

Adopting a running container replaces its table in one transaction, so its connections are not interrupted.
"""

from __future__ import annotations

import logging
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

from agent.dns.server import RESOLVER_ADDRESS, ResolverSockets, open_sockets
from agent.network import conntrack, links, netns, vip_lb
from agent.network.backends import BackendTable, loses_backend
from agent.network.model import Attachment, LocalAttachment
from agent.network.netns import Namespace
from agent.network.nftables import NftablesContext

logger = logging.getLogger(__name__)


class Sandbox:
    """`sockets` belong to the container's DNS server. The driver stops the server before it closes them."""

    def __init__(self, container_id: str, path: Path) -> None:
        self.container_id = container_id
        self._path = path
        self.attachments: dict[str, Attachment] = {}
        self.local_attachments: tuple[LocalAttachment, ...] = ()
        self.sockets: ResolverSockets | None = None
        netns.create(path)
        self.namespace = Namespace(str(path))
        self._nftables: NftablesContext | None = None
        self._programmed: BackendTable | None = None
        self.conntrack_cleanup_due = False
        try:
            what = f"prepare the network of container {container_id[:12]}"
            links.run_in_namespace(self.namespace, what, links.set_loopback_up)
            self.namespace.run(links.disable_ipv6)
            self._nftables = NftablesContext(self.namespace)
            self.sockets = self.namespace.run(open_sockets)
        except BaseException:
            self.close()
            raise

    @property
    def subnets(self) -> tuple[IPv4Network, ...]:
        return tuple(IPv4Interface(item.address).network for item in self.attachments.values())

    def update_backends(self, backends: BackendTable) -> None:
        """Program the VIPs. Connections to addresses that are no longer backends are deleted later, by `delete_stale_connections`."""
        if self._nftables is None or self.sockets is None:
            return
        before, self._programmed = self._programmed, None  # unknown until the kernel has accepted the change
        commands = vip_lb.nft_commands(vip_lb.plan(before.ready if before else {}, backends.ready))
        if before is None:
            base = vip_lb.nft_base_commands(RESOLVER_ADDRESS, self.sockets.udp_port, self.sockets.tcp_port)
            commands = base + commands
        if commands:
            self._nftables.run(commands)
        if before is None or loses_backend(before, backends):
            self.conntrack_cleanup_due = True
        self._programmed = backends

    def delete_stale_connections(self) -> None:
        """Delete the connections to addresses that are no longer backends."""
        self.conntrack_cleanup_due = False
        subnets, backends = self.subnets, self._programmed
        if subnets and backends is not None:
            count = self.namespace.run(lambda: conntrack.delete_stale_entries(subnets, backends))
            if count:
                logger.debug("container %s: deleted %d connections to stopped tasks", self.container_id[:12], count)

    def close(self) -> None:
        """Close the handles. The container keeps its network."""
        if self._nftables is not None:
            self._nftables.close()
            self._nftables = None
        if self.sockets is not None:
            self.sockets.close()
        self.namespace.close()

    def remove(self) -> None:
        """Remove the devices and the namespace."""
        try:
            links.run_in_namespace(
                self.namespace, f"remove the network of container {self.container_id[:12]}", links.delete_all_links
            )
        finally:
            self.close()
            netns.remove(self._path)
