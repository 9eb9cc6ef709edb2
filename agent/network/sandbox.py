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
from agent.network.conntrack import BackendTable
from agent.network.model import Attachment
from agent.network.netns import Namespace
from agent.network.nftables import NftablesContext

logger = logging.getLogger(__name__)


class Sandbox:
    """`sockets` are served by the DNS service, which stops before they are closed here."""

    def __init__(self, container_id: str, path: Path) -> None:
        self.container_id = container_id
        self._path = path
        self.attachments: dict[str, Attachment] = {}
        self.sockets: ResolverSockets | None = None
        netns.create(path)
        self.namespace = Namespace(str(path))
        self._rules: NftablesContext | None = None
        self._held: BackendTable | None = None
        self.conntrack_cleanup_due = False
        try:
            what = f"prepare the network of container {container_id[:12]}"
            links.run_in_namespace(self.namespace, what, links.set_loopback_up)
            self.namespace.run(links.disable_ipv6)
            self._rules = NftablesContext(self.namespace)
            self.sockets = self.namespace.run(open_sockets)
        except BaseException:
            self.close()
            raise

    @property
    def subnets(self) -> tuple[IPv4Network, ...]:
        return tuple(IPv4Interface(item.address).network for item in self.attachments.values())

    def update_backends(self, backends: BackendTable) -> None:
        """Bring the VIPs to the ready backends; connections to backends that are gone for good are swept later."""
        if self._rules is None or self.sockets is None:
            return
        held, self._held = self._held, None  # until the kernel has agreed nothing is certain
        text = vip_lb.nft_commands(vip_lb.plan(held.ready if held else {}, backends.ready))
        if held is None:
            text = vip_lb.nft_base_commands(RESOLVER_ADDRESS, self.sockets.udp_port, self.sockets.tcp_port) + text
        if text:
            self._rules.run(text)
        if (
            held is None
            or vip_lb.loses_backend(held.all, backends.all)
            or vip_lb.loses_backend(held.ready, backends.ready)
        ):
            self.conntrack_cleanup_due = True
        self._held = backends

    def delete_stale_connections(self) -> None:
        """End the connections to tasks that are gone, as `balance` found due."""
        self.conntrack_cleanup_due = False
        subnets, keepers = self.subnets, self._held
        if subnets and keepers is not None:
            ended = self.namespace.run(lambda: conntrack.delete_stale_entries(subnets, keepers))
            if ended:
                logger.debug("container %s: ended %d connections to tasks that are gone", self.container_id[:12], ended)

    def close(self) -> None:
        """Let go of the handles; the container keeps its network."""
        if self._rules is not None:
            self._rules.close()
            self._rules = None
        if self.sockets is not None:
            self.sockets.close()
        self.namespace.close()

    def remove(self) -> None:
        try:
            links.run_in_namespace(
                self.namespace, f"remove the network of container {self.container_id[:12]}", links.delete_all_links
            )
        finally:
            self.close()
            netns.remove(self._path)
