"""The host's network driver: the asyncio face of everything in this package.

Law: every method can be repeated, and a daemon that dies at any line leaves running containers their network. Called by the agent's
worker alone; blocking kernel work runs on one thread of its own, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agent.network.model import Attachment, NetworkChanges, NetworkFailure, OverlayNetwork


class NetworkDriver:
    """One per daemon. `host_address` is this node's underlay (VTEP) address, `run_dir` a tmpfs folder (`/run/covey`).

    `resolvers` returns the host's nameservers each time it is asked. `gateway_bridge` names the bridge through which
    containers reach the world; it is unique in the host's namespace. `host_netns` is a path, or empty for the process's own.
    """

    def __init__(
        self,
        host_address: str,
        run_dir: Path,
        resolvers: Callable[[], Sequence[str]],
        *,
        gateway_bridge: str = "covey0",
        host_netns: str = "",
    ) -> None:
        """Nothing is touched before `start`."""

    async def start(self) -> None:
        """Open the host's namespace and remove what an earlier life left half made. Existing sandboxes stay until `clean`."""

    async def close(self) -> None:
        """Stop serving. Containers keep their networks; the next life adopts them."""

    async def ensure_network(self, network: OverlayNetwork) -> None:
        """Make the network's sandbox, bridge and VXLAN device; NetworkError names what the kernel lacks."""

    async def remove_network(self, network_id: str) -> None:
        """Forget the network. Its sandbox goes with its last local container."""

    async def apply(self, changes: NetworkChanges) -> tuple[NetworkFailure, ...]:
        """Take a difference and bring forwarding, service addresses and names to it. What failed is tried again by the next call."""

    async def create_sandbox(self, container_id: str) -> str:
        """A network namespace with loopback up and the resolver in it; returns its path for the OCI runtime."""

    async def attach(self, container_id: str, attachment: Attachment) -> None:
        """Join the container to an overlay network that `apply` or `ensure_network` has told of. Repeating it changes nothing."""

    async def detach(self, container_id: str, network_id: str) -> None:
        """Take the interface away again."""

    async def attach_egress(self, container_id: str, interface: str, *, isolated: bool = True) -> str:
        """The last interface: the way to the world, with the default route. Returns its address with prefix.

        `isolated=False` is the plain `bridge` network: containers on it reach each other.
        """

    async def destroy_sandbox(self, container_id: str) -> None:
        """Remove the namespace and all in it; nothing happens when it is not there."""

    async def adopt(self, container_id: str, attachments: Sequence[Attachment]) -> None:
        """After a restart: take over a living container's namespace, bind its resolver again, bring its VIPs up to date."""

    async def list_sandboxes(self) -> tuple[str, ...]:
        """Container ids of every namespace on disk, adopted or not."""

    async def clean(self) -> tuple[str, ...]:
        """Remove every sandbox and network that was neither adopted nor made in this life; returns what went, by name.

        Call it once, after the adoptions and the first complete `apply`.
        """

    def resolv_conf_text(self, container_id: str, options: Mapping[str, Sequence[str]] | None = None) -> str:
        """The container's /etc/resolv.conf."""
        raise NotImplementedError
