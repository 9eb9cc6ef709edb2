"""Overlay networks present on this host: their sandboxes by network id, on the host's current underlay.

Invariant: a network's MTU plus the VXLAN headers fits the underlay device of this host.

Owned by `host_networks`, called on the driver's thread.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from agent.network import links, mtu, netns
from agent.network.model import OverlayNetwork, TunnelEndpoint
from agent.network.mtu import Underlay
from agent.network.netns import Namespace
from agent.network.overlay import OverlaySandbox
from covey.errors import UnavailableError


class Overlays:
    """The overlay sandboxes that this process created or adopted.

    `host` is the host's network namespace. `host_address` is this host's VTEP address, empty while it has none.
    """

    def __init__(self, folder: Path, host: Namespace, host_address: str) -> None:
        self._folder = folder
        self._host = host
        self.endpoint = TunnelEndpoint(host_address)
        self._underlay: Underlay | None = None
        self._sandboxes: dict[str, OverlaySandbox] = {}

    def __contains__(self, network_id: str) -> bool:
        return network_id in self._sandboxes

    def prepare(self) -> None:
        """Create the folder and remove files that are no namespace."""
        netns.prepare_folder(self._folder)

    def close(self) -> None:
        """Close the handles. The networks stay."""
        for overlay in self._sandboxes.values():
            overlay.close()

    def ids(self) -> tuple[str, ...]:
        return tuple(sorted(self._sandboxes))

    def get(self, network_id: str) -> OverlaySandbox | None:
        return self._sandboxes.get(network_id)

    @property
    def host_address(self) -> str:
        return self.endpoint.address

    def set_endpoint(self, endpoint: TunnelEndpoint) -> None:
        """Change the VTEP address or port. `ensure` then replaces the VXLAN device of each network."""
        self.endpoint = endpoint
        self._underlay = None

    def ensure(self, network: OverlayNetwork) -> OverlaySandbox:
        """Create the network's sandbox, or bring it to the network's current configuration and the host's underlay.

        Raises:
            UnavailableError: the host has no cluster address. UnsupportedError: the underlay or kernel cannot carry it.
        """
        if not self.host_address:
            raise UnavailableError(
                f"network {network.name} needs a cluster address of this host, and the host is not in a cluster"
            )
        new = network.id not in self._sandboxes
        if new or self._underlay is None:
            self._underlay = self._find_underlay()
        size = mtu.choose_mtu(network.name, network.mtu, self._underlay)
        if new:
            path = self._folder / network.id
            self._sandboxes[network.id] = OverlaySandbox(network, path, self._host, self.endpoint, size)
        overlay = self._sandboxes[network.id]
        overlay.update(network, self.endpoint, size)
        return overlay

    def tunnel_mtu(self) -> int:
        """The size of a packet that a tunnel carries on this host's present network device."""
        return mtu.choose_mtu("", 0, self._find_underlay())

    def remove(self, network_id: str) -> None:
        """Remove the network's namespace, also one that an earlier process left and this one never opened."""
        overlay = self._sandboxes.pop(network_id, None)
        if overlay is not None:
            overlay.remove()
        elif netns.is_namespace(path := self._folder / network_id):
            links.remove_namespace(path)

    def remove_unused(self, used: Collection[str]) -> tuple[str, ...]:
        """Remove the namespaces on disk that are neither open nor in `used`. Returns their network ids."""
        unused = [path for path in sorted(self._folder.iterdir()) if path.name not in {*self._sandboxes, *used}]
        for path in unused:
            links.remove_namespace(path)
        return tuple(path.name for path in unused)

    def _find_underlay(self) -> Underlay:
        device, size = links.run_in_namespace(
            self._host, "read the MTU", lambda route: links.underlay_device(route, self.host_address)
        )
        return Underlay(device, size)
