"""Overlay networks present on this host: their sandboxes by network id, on the host's current underlay.

Invariant: a network's MTU plus the VXLAN headers fits the underlay device of this host.
Invariant: the sandbox of a network exists while the network is open here or left by an earlier process. Its devices go first: the
kernel removes namespaces late, and the VXLAN id must be free at once.

Owned by `host_networks`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from agent.network import links, mtu, netns
from agent.network.kernel_thread import KernelThread
from agent.network.model import OverlayNetwork, TunnelEndpoint
from agent.network.mtu import Underlay
from agent.network.namespace_state import network_key
from agent.network.netns import Namespace
from agent.network.overlay_fragments import plan_network
from agent.network.plan.overlay import TUNNEL, Overlay
from agent.network.plan.ownership import alias_of
from agent.network.reconciler import Reconciler
from agent.network.vxlan_owner import find_owner, remove
from covey.errors import UnavailableError, UnsupportedError

log = logging.getLogger(__name__)


class Overlays:
    """The sandboxes that this process created or adopted. `host` is the host's network namespace."""

    def __init__(
        self, folder: Path, host: Namespace, host_address: str, reconciler: Reconciler, thread: KernelThread
    ) -> None:
        self._folder = folder
        self._host = host
        self.endpoint = TunnelEndpoint(host_address)
        """This host's end of the tunnels; its address is empty while it has none."""
        self.no_encryption = ""
        """Why this host cannot take part in encrypted networks; empty if it can."""
        self._underlay: Underlay | None = None
        self._reconciler = reconciler
        self._thread = thread
        self._open: dict[str, Overlay] = {}
        self._lock = asyncio.Lock()

    def __contains__(self, network_id: str) -> bool:
        return network_id in self._open

    def prepare(self) -> None:
        """Create the folder and remove files that are no namespace."""
        netns.prepare_folder(self._folder)

    def ids(self) -> tuple[str, ...]:
        return tuple(sorted(self._open))

    def path(self, network_id: str) -> Path:
        return self._folder / network_id

    def set_endpoint(self, endpoint: TunnelEndpoint) -> None:
        """Change the address or port of this host's end. `ensure` then gives each network's devices new options."""
        self.endpoint = endpoint
        self._underlay = None

    async def ensure(self, network: OverlayNetwork) -> tuple[Overlay, bool, bool]:
        """Create or adopt the network's sandbox. Returns the network as this host carries it, whether its sandbox was not open before,
        and whether an earlier process left it.

        Raises:
            UnavailableError: the host has no cluster address. UnsupportedError: the underlay or kernel cannot carry it.
        """
        async with self._lock:
            if not self.endpoint.address:
                raise UnavailableError(
                    f"network {network.name} needs a cluster address of this host, and the host is not in a cluster"
                )
            is_new = network.id not in self._open
            if is_new or self._underlay is None:
                self._underlay = await self._thread.run(self._find_underlay)
            underlay = self._underlay
            if network.encrypted:
                if self.no_encryption:
                    raise UnsupportedError(f"network {network.name} is encrypted, and {self.no_encryption}")
                underlay = mtu.encrypted(underlay, "the WireGuard device")
            size = mtu.choose_mtu(network.name, network.mtu, underlay)
            is_left = is_new and await self._thread.run(lambda: _create(self.path(network.id)))
            overlay = plan_network(network, self.endpoint, size, self._reconciler.prefix)
            self._open[network.id] = overlay
            if is_new:
                self._reconciler.open_namespace(network_key(network.id), self.path(network.id))
            return overlay, is_new, is_left

    async def remove(self, network_id: str, is_unused: Callable[[], bool] = lambda: True) -> bool:
        """Remove the network's sandbox, also one that an earlier process left, if it is unused by then. Returns whether it did."""
        async with self._lock:
            if not is_unused():
                return False
            self._open.pop(network_id, None)
            self._reconciler.close_namespace(network_key(network_id))
            path = self.path(network_id)
            if await self._thread.run(path.exists):
                await self._thread.run(lambda: links.remove_namespace(path))
            return True

    async def remove_unused(self, used: Collection[str]) -> tuple[str, ...]:
        """Remove the namespaces on disk that are neither open nor in `used`. Returns their network ids."""
        found = await self._thread.run(lambda: sorted(path.name for path in self._folder.iterdir()))
        unused = tuple(name for name in found if name not in {*self._open, *used})
        for network_id in unused:
            await self.remove(network_id)
        return unused

    async def free_vxlan_id(self, vni: int, known: Collection[str]) -> tuple[bool, str]:
        """Remove the VXLAN device with an id that an earlier daemon left, in a network that is not `known` or with another run directory:
        the managers have given the id to another network. Containers keep their interfaces.

        Returns whether there was one, and otherwise who has the id and what to do about it; empty if it cannot be seen.
        """
        if await self._take_over(vni, known):
            return True, ""
        owner = await self._thread.run(
            lambda: find_owner(vni, self.endpoint.port, self._host, alias_of(self._reconciler.prefix))
        )
        if owner is None:
            return False, ""
        if Path(owner.shown).parent == self._folder:
            return False, f"network {Path(owner.shown).name}"
        if not owner.is_left:
            return False, owner.description
        log.warning("VXLAN id %d was left %s and is taken over", vni, owner.name)
        return await self._thread.run(lambda: remove(owner)), ""

    async def _take_over(self, vni: int, known: Collection[str]) -> bool:
        """Remove the device with an id from a sandbox in this daemon's own folder. Returns whether there was one."""

        def has_id(route: Any) -> bool:
            index = links.index_of(route, TUNNEL)
            if not index:
                return False
            data = route.get_links(index)[0].get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA")
            return bool(data.get_attr("IFLA_VXLAN_ID") == vni and links.delete_link(route, TUNNEL))

        def remove(left: Collection[str]) -> bool:
            for name in left:
                namespace = Namespace(str(self.path(name)))
                try:
                    what = f"remove the VXLAN device that was left of network {name}"
                    if links.run_in_namespace(namespace, what, has_id):
                        return True
                finally:
                    namespace.close()
            return False

        async with self._lock:
            found = await self._thread.run(lambda: [path.name for path in self._folder.iterdir()])
            return await self._thread.run(lambda: remove([name for name in found if name not in {*known, *self._open}]))

    async def encrypted_mtu(self) -> int:
        """The MTU of a WireGuard device on this host's present network device."""
        return mtu.encrypted(await self._thread.run(self._find_underlay), "").mtu

    async def tunnel_mtu(self) -> int:
        """The size of a packet that a tunnel carries on this host's present network device."""
        return mtu.choose_mtu("", 0, await self._thread.run(self._find_underlay))

    async def encrypted_tunnel_mtu(self) -> int:
        """The same of a tunnel through WireGuard."""
        return mtu.choose_mtu("", 0, mtu.encrypted(await self._thread.run(self._find_underlay), ""))

    def _find_underlay(self) -> Underlay:
        address = self.endpoint.address
        device, size = links.run_in_namespace(
            self._host, "read the MTU", lambda route: links.underlay_device(route, address)
        )
        return Underlay(device, size, is_ipv6=":" in address)


def _create(path: Path) -> bool:
    """Create a namespace. Returns whether it existed."""
    found = netns.is_namespace(path)
    netns.create(path)
    return found
