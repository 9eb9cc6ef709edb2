"""Network sandbox of one container: its namespace and its DNS resolver's sockets.

Invariant: the namespace is named on disk and outlives the daemon. Devices, addresses and rules in it are the reconciler's.
"""

from __future__ import annotations

import socket
from pathlib import Path

from agent.dns.server import ResolverSockets, open_sockets
from agent.dns.upstream import open_sockets_here
from agent.network import links, netns
from agent.network.model import Attachment, LocalAttachment
from agent.network.netns import Namespace


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
        try:
            what = f"prepare the network of container {container_id[:12]}"
            links.run_in_namespace(self.namespace, what, links.set_loopback_up)
            self.namespace.run(links.disable_ipv6)
            self.sockets = self.namespace.run(open_sockets)
        except BaseException:
            self.close()
            raise

    def open_sockets(self, family: int, kind: int, count: int) -> list[socket.socket]:
        """Sockets of the container, for questions to nameservers."""
        return self.namespace.run(lambda: open_sockets_here(family, kind, count))

    def close(self) -> None:
        """Close the handles. The container keeps its network."""
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
