"""Network driver of a host: the asyncio interface of this package, used by the agent's worker alone.

Invariant: a repeated call changes nothing.
Invariant: running containers keep their network when the daemon crashes at any line.
Invariant: blocking kernel work runs on one thread of the driver, in order.

Order of calls after a daemon start: `start`, `apply` with the saved assignments, `adopt` for each running container, a
complete `apply` once a manager is reached, `clean`. In this order running containers never lose a name or a VIP.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from agent.background_tasks import BackgroundTasks
from agent.dns.forwarder import DnsForwarder
from agent.dns.resolv_conf import host_nameservers
from agent.dns.resolvers import ContainerResolvers
from agent.network.host_networks import HostNetworks
from agent.network.model import Attachment, NetworkChanges, NetworkFailure, OverlayNetwork
from agent.network.sandbox import Sandbox
from covey.errors import UnavailableError

T = TypeVar("T")
GATEWAY_BRIDGE = "covey0"


class NetworkDriver:
    """One per daemon. `run_dir` is a tmpfs folder (`/run/covey`).

    `host_address` is this node's underlay (VTEP) address, empty while it has none. `resolvers` returns the host's nameservers
    each time it is asked. `gateway_bridge` names the bridge through which containers reach the world; it is unique in the
    host's namespace. `host_netns` is a path, or empty for the process's own.
    """

    def __init__(
        self,
        host_address: str,
        run_dir: Path,
        resolvers: Callable[[], Sequence[str]] = host_nameservers,
        *,
        gateway_bridge: str = GATEWAY_BRIDGE,
        host_netns: str = "",
    ) -> None:
        """Nothing is touched before `start`."""
        self._make_host = lambda: HostNetworks(host_address, run_dir, gateway_bridge, host_netns)
        self._host: HostNetworks | None = None
        self._elsewhere = bool(host_netns)
        self._nursery = BackgroundTasks("networks")
        self._dns = ContainerResolvers(DnsForwarder(resolvers, self._open_socket), self._nursery.spawn)
        self._sweep_due = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="covey-network")

    async def start(self) -> None:
        """Open the host's namespace and remove what an earlier life left half made. Existing sandboxes stay until `clean`."""
        self._host = await self._run(self._make_host)
        await self._run(self._host.start)
        await self._nursery.open()
        self._nursery.spawn(self._sweep(), "sweeping")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What on this host is in the way of containers, for people; found at the start."""
        return self._started().warnings

    async def close(self) -> None:
        """Stop serving. Containers keep their networks; the next life adopts them."""
        await self._dns.close()
        await self._nursery.close()
        if self._host is not None:
            await self._run(self._host.close)
            self._host = None
        self._thread.shutdown(wait=False)

    async def set_host_address(self, host_address: str) -> None:
        """The host's underlay address, once it is known or when it changes; tunnels are made anew on it."""
        host = self._started()
        await self._run(lambda: host.set_host_address(host_address))

    async def ensure_network(self, network: OverlayNetwork) -> None:
        """Make the network's sandbox, bridge and VXLAN device; an UnsupportedError names what the kernel lacks."""
        host = self._started()
        await self._change(lambda: host.ensure_network(network))

    async def remove_network(self, network_id: str) -> None:
        """Forget the network. Its sandbox goes with its last local container."""
        host = self._started()
        await self._change(lambda: host.remove_network(network_id))

    async def apply(self, changes: NetworkChanges) -> tuple[NetworkFailure, ...]:
        """Take a difference and bring forwarding, service addresses and names to it. What failed is tried again by the next call."""
        host = self._started()
        return await self._change(lambda: host.apply(changes))

    async def create_sandbox(self, container_id: str, *, nameservers: Sequence[str] = ()) -> str:
        """A network namespace with loopback up and the resolver in it; returns its path for the OCI runtime.

        `nameservers` (`--dns`) stand in for the host's resolvers.
        """
        host = self._started()
        return await self._open(container_id, lambda: host.create_sandbox(container_id), nameservers)

    async def attach(self, container_id: str, attachment: Attachment) -> None:
        """Join the container to an overlay network that `apply` or `ensure_network` has told of. Repeating it changes nothing."""
        host = self._started()
        await self._change(lambda: host.attach(container_id, attachment))

    async def detach(self, container_id: str, network_id: str) -> None:
        """Take the interface away again."""
        host = self._started()
        await self._change(lambda: host.detach(container_id, network_id))

    async def attach_outbound(self, container_id: str, interface: str, *, isolated: bool = True) -> str:
        """The last interface: the way to the world, with the default route. Returns its address with prefix.

        `isolated=False` is the plain `bridge` network: containers on it reach each other.
        """
        host = self._started()
        return await self._run(lambda: host.attach_outbound(container_id, interface, isolated=isolated))

    async def destroy_sandbox(self, container_id: str) -> None:
        """Remove the namespace and all in it; nothing happens when it is not there."""
        host = self._started()
        await self._dns.stop(container_id)
        await self._change(lambda: host.destroy_sandbox(container_id))

    async def adopt(
        self, container_id: str, attachments: Sequence[Attachment], *, nameservers: Sequence[str] = ()
    ) -> str:
        """After a restart: take over a living container's namespace, bind its resolver again, bring its VIPs up to date.

        Returns the namespace's path; a NotFoundError says that there is none.
        """
        host = self._started()
        return await self._open(container_id, lambda: host.adopt(container_id, attachments), nameservers)

    async def list_sandboxes(self) -> tuple[str, ...]:
        """Container ids of every namespace on disk, adopted or not."""
        return await self._run(self._started().list_sandboxes)

    async def clean(self) -> tuple[str, ...]:
        """Remove every sandbox and network that was neither adopted nor made in this life; returns what went, by name.

        Call it once, after the adoptions and the first complete `apply`.
        """
        return await self._run(self._started().clean)

    async def remove_everything(self) -> None:
        """Leave nothing of ours on this host: sandboxes, networks, gateway bridge and rules. For a node that leaves its cluster."""
        host = self._started()
        for container_id in tuple(host.sandboxes):
            await self._dns.stop(container_id)
        await self._run(host.remove_everything)

    async def _open(self, container_id: str, make: Callable[[], Sandbox], nameservers: Sequence[str]) -> str:
        sandbox = await self._change(make)
        if sandbox.sockets is not None and not self._dns.is_serving(container_id):
            zone = await self._run(lambda: self._started().zones()[container_id])
            await self._dns.serve(container_id, sandbox.sockets, zone, nameservers)
        return sandbox.namespace.path

    async def _change(self, work: Callable[[], T]) -> T:
        """Do it, then tell the resolvers what their containers may know now."""
        host = self._started()
        result, zones = await self._run(lambda: (work(), host.zones()))
        for container_id, zone in zones.items():
            self._dns.set_zone(container_id, zone)
        self._sweep_due.set()
        return result

    async def _sweep(self) -> None:
        """End connections to tasks that are gone, container by container, so that other work gets its turn in between."""
        host = self._started()
        while True:
            await self._sweep_due.wait()
            self._sweep_due.clear()
            while await self._run(host.clean_conntrack_of_one):
                pass

    def _started(self) -> HostNetworks:
        if self._host is None:
            raise UnavailableError("the network driver of this host is not running")
        return self._host

    async def _run(self, work: Callable[[], T]) -> T:
        """On the driver's thread, to the end: a caller who is cancelled does not leave a network half made."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    def _open_socket(self, family: int, kind: int) -> socket.socket:
        if self._elsewhere:
            return self._started().namespace.run(lambda: socket.socket(family, kind))
        return socket.socket(family, kind)
