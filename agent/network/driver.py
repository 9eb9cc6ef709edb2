"""Network driver of a host: the asyncio interface of this package, used by the agent's worker and by `agent.endpoint`.

Invariant: a repeated call changes nothing.
Invariant: running containers keep their network when the daemon crashes at any line.
Invariant: changes of one container are carried out in the order of the calls.
Invariant: blocking work runs on one thread of the driver, in order, or on those of the reconciler.

Order of calls after a daemon start: `start`, `apply` with the saved assignments, `adopt` for each running container,
`clean_sandboxes`, an `apply` that leads to the assigned set once a manager is reached, `clean`. In this order running containers never
lose a name or a VIP.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from agent.background_tasks import BackgroundTasks
from agent.dns.forwarder import DnsForwarder
from agent.dns.resolv_conf import host_nameservers
from agent.dns.resolvers import ContainerResolvers
from agent.dns.upstream import Upstream, open_sockets_here
from agent.dns.zone import NetworkZone
from agent.network import netns
from agent.network.connection_sweeps import sweep_connections
from agent.network.firewall_watch import FirewallWatch
from agent.network.host_networks import HostNetworks
from agent.network.inspection import NetworkInspection
from agent.network.kernel_thread import KernelThread
from agent.network.member_counters import read_dropped
from agent.network.model import (
    VXLAN_PORT,
    Attachment,
    HostRoute,
    LocalAttachment,
    NetworkChanges,
    NetworkFailure,
    TunnelEndpoint,
)
from agent.network.netns import Namespace
from agent.network.plan.difference_text import DifferenceText
from agent.network.plan.dropped_packets import DroppedPackets
from agent.network.reconciler import Reconciler
from agent.network.route_watch import RouteWatch
from agent.network.sandbox import Sandbox
from agent.network.wireguard.encryption import Encryption, Underlay
from agent.network.wireguard.rotation import RotationTimes
from covey.errors import CoveyError, UnavailableError

logger = logging.getLogger(__name__)
T = TypeVar("T")
GATEWAY_BRIDGE = "covey0"
CLOSE_SECONDS = 10.0
"""How long changes that were begun may take while the daemon stops."""


class NetworkDriver:
    """One per daemon. `run_dir` is a tmpfs folder (`/run/covey`).

    `host_address` is this node's underlay (VTEP) address, empty while it has none. `host_nameservers` returns the host's
    nameservers each time it is called. `gateway_bridge` names the bridge for outbound NAT and is unique in the host's
    namespace. `host_netns` is the path of the host's namespace, or empty for that of this process.
    """

    def __init__(
        self,
        host_address: str,
        run_dir: Path,
        host_nameservers: Callable[[], Sequence[str]] = host_nameservers,
        *,
        gateway_bridge: str = GATEWAY_BRIDGE,
        host_netns: str = "",
        rotation_times: RotationTimes | None = None,
        manages_firewall: Callable[[], bool] = lambda: False,
    ) -> None:
        """Changes nothing before `start`."""
        self.prefix = gateway_bridge
        """Begins the names of this daemon's devices and tables in the host's namespace."""
        self.host_addresses: tuple[str, ...] = ()
        """The addresses by which others may reach this host, as of the last `set_host_address`."""
        self._host: HostNetworks | None = None
        self.tunnel_port = VXLAN_PORT
        self._in_other_namespace = bool(host_netns)
        self._background = BackgroundTasks("networks")
        self._host_nameservers = host_nameservers
        self._dns = ContainerResolvers(DnsForwarder(), self._background.spawn)
        self._drain_due = asyncio.Event()
        self._changes: set[asyncio.Future[Any]] = set()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._thread = KernelThread()
        self._open_namespace = lambda: Namespace(host_netns) if host_netns else netns.current_namespace()
        self.reconciler = Reconciler(gateway_bridge, self._open_namespace)
        """What planners want of the namespaces of this host: `HOST`, and those of containers and networks while they exist."""
        self.encryption = Encryption(
            gateway_bridge, run_dir / "wireguard", self.reconciler, self.run_on_host, rotation_times
        )
        """This host's end of encrypted networks."""
        self.firewall = FirewallWatch(gateway_bridge, manages_firewall)
        """The host's own firewall, as far as it concerns containers."""
        self.routes = RouteWatch()
        """The host's own routes."""
        self._inspection = NetworkInspection(self.reconciler, self.firewall, self.run_on_host)
        self._host_address = host_address
        self._run_dir = run_dir

    async def start(self) -> None:
        """Open the host's namespace and remove half-created namespaces. Existing sandboxes stay until `clean`."""
        namespace = await self._thread.run(self._open_namespace)
        self._host = HostNetworks(self._host_address, self._run_dir, namespace, self.reconciler, self._thread)
        await self._host.start()
        await self.reconciler.start()
        await self.encryption.start()
        self._host.overlays.no_encryption = self.encryption.refusal
        await self._background.open()
        await self.firewall.start(namespace, self._background.spawn)
        await self.routes.start(namespace, self._host.facts.routes, self._background.spawn)
        self._background.spawn(sweep_connections(self._drain_due, self._host, self._thread), "draining of connections")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for users about host firewall rules that drop container traffic."""
        return self.firewall.warnings

    async def close(self) -> None:
        """Stop the DNS servers. Containers keep their networks, and the next process adopts them."""
        if self._changes:
            await asyncio.wait(self._changes, timeout=CLOSE_SECONDS)
        await self._dns.close()
        await self.encryption.close()
        await self._background.close()
        self.firewall.close()
        self.routes.close()
        await self.reconciler.close()
        if self._host is not None:
            await self._host.close()
            self._host = None
        self._thread.close()

    async def set_host_address(self, host_address: str) -> None:
        """Set the host's underlay address when it becomes known or changes. VXLAN devices are replaced."""
        await self._change(self._started().set_endpoint(TunnelEndpoint(host_address, self.tunnel_port)))
        self.host_addresses = await self._started().facts.addresses()

    def set_tunnel_port(self, port: int) -> None:
        """Set the UDP port of the cluster's tunnels. The next `set_host_address` or `apply` uses it."""
        self.tunnel_port = port

    async def apply(self, changes: NetworkChanges) -> tuple[NetworkFailure, ...]:
        """Bring networks, forwarding entries, VIPs and names to the changed state. The next call retries the failures."""
        host = self._started()
        await self._change(host.set_endpoint(TunnelEndpoint(host.overlays.endpoint.address, self.tunnel_port)))
        refused = await self._apply_encryption(host, changes)
        changes = self.encryption.through_tunnels(changes, host.overlays.endpoint.address)
        return (*refused, *await self._change(host.apply(changes)))

    async def _apply_encryption(self, host: HostNetworks, changes: NetworkChanges) -> tuple[NetworkFailure, ...]:
        """Bring the tunnels of encrypted networks up before anything is sent through them."""
        address = host.overlays.endpoint.address
        try:
            encrypts = self.encryption.has_tunnels or any(network.encrypted for network in changes.networks)
            mtu = await host.overlays.encrypted_mtu() if address and encrypts else 0
            await self.encryption.apply(changes, Underlay(address=address, mtu=mtu, vxlan_port=self.tunnel_port))
        except (CoveyError, OSError) as error:
            return tuple(NetworkFailure(network.id, str(error)) for network in changes.networks if network.encrypted)
        return ()

    async def create_sandbox(self, container_id: str, *, nameservers: Sequence[str] = ()) -> str:
        """Create a network namespace with loopback and DNS. Returns its path for the OCI runtime.

        `nameservers` (`--dns`) replace the host's.
        """
        return await self._open_sandbox(container_id, self._started().create_sandbox(container_id), nameservers)

    async def attach(self, container_id: str, attachment: Attachment) -> None:
        """Join the container to an overlay network that `apply` made known."""
        await self._change(self._started().attach(container_id, attachment), container_id)

    async def detach(self, container_id: str, network_id: str) -> None:
        """Remove the container's interface on an overlay network, if it has one."""
        await self._change(self._started().detach(container_id, network_id), container_id)

    async def destroy_sandbox(self, container_id: str) -> None:
        """Remove the container's namespace and its devices, if it exists."""
        host = self._started()
        await self._dns.stop(container_id)
        await self._change(host.destroy_sandbox(container_id), container_id)

    async def adopt(
        self, container_id: str, attachments: Sequence[Attachment], *, nameservers: Sequence[str] = ()
    ) -> str:
        """After a restart: adopt a running container's namespace and serve its DNS again.

        Returns the namespace's path. Raises NotFoundError when there is none.
        """
        return await self._open_sandbox(container_id, self._started().adopt(container_id, attachments), nameservers)

    async def set_local_names(self, zones: Mapping[str, NetworkZone | None]) -> None:
        """Set the names on networks of this host alone, by network id; None for a network that is gone."""
        self._started().names.set_local_names(zones)
        self._update_zones()

    async def set_local_attachments(self, container_id: str, attachments: Sequence[LocalAttachment]) -> None:
        """Set the networks of this host whose names a container resolves."""
        self._started().names.set_local_attachments(container_id, attachments)
        self._update_zones()

    async def outbound_mtu(self) -> int:
        """The MTU of the device of the host's default route, 1500 without one."""
        return await self._started().facts.outbound_mtu()

    async def host_routes(self) -> tuple[HostRoute, ...]:
        """The routes of the host, without default routes."""
        return await self._started().facts.routes()

    async def verify(self) -> tuple[DifferenceText, ...]:
        """How the kernel's state of this host differs from what is wanted, in words."""
        return await self._inspection.verify()

    async def repair(self) -> tuple[DifferenceText, ...]:
        """Carry the differences out. Returns those that were found."""
        return await self._inspection.repair()

    async def dropped_packets(self) -> DroppedPackets:
        """VXLAN packets from hosts that are no members of their network, and of networks that this host does not have."""
        host = self._started()
        return await self._thread.run(lambda: read_dropped(host.namespace, self.prefix))

    async def read(self, namespaces: Collection[str]) -> bytes:
        """What the kernel of this host holds in these namespaces, for a trace. Those that the host does not have are left out."""
        return await self._inspection.read(namespaces)

    async def clean(self) -> tuple[str, ...]:
        """Remove the sandboxes and networks that this process neither created nor adopted, and what nobody wants in the others. Returns
        the names of those removed.

        Call it once, after the adoptions and the first complete assignment set.
        """
        removed = await self._started().clean()
        if self.reconciler.is_complete:
            await self.reconciler.repair()
        return removed

    async def clean_sandboxes(self, kept: Collection[str]) -> tuple[str, ...]:
        """Remove the sandboxes that this process neither created nor adopted, except those of the containers `kept`.

        Returns the ids of their containers. Call it once, after the adoptions.
        """
        removed = await self._started().clean_sandboxes(kept)
        self.reconciler.complete()
        return removed

    async def remove_everything(self) -> None:
        """Remove all sandboxes and networks of the cluster. For a node that leaves its cluster."""
        host = self._started()
        for sandbox in tuple(host.sandboxes):
            await self._dns.stop(sandbox.container_id)
        await host.remove_everything()
        await self.encryption.remove_everything()

    async def _open_sandbox(
        self, container_id: str, opened: Coroutine[Any, Any, Sandbox], nameservers: Sequence[str]
    ) -> str:
        sandbox = await self._change(opened, container_id)
        if sandbox.sockets is not None and not self._dns.is_serving(container_id):
            zone = self._started().names.zone(container_id)
            upstream = Upstream(
                sandbox.open_sockets,
                lambda family, kind, count: self.run_on_host(lambda: open_sockets_here(family, kind, count)),
                self._host_nameservers,
                nameservers,
            )
            await self._dns.serve(container_id, sandbox.sockets, zone, upstream)
        return sandbox.namespace.path

    async def _change(self, work: Coroutine[Any, Any, T], container_id: str = "") -> T:
        """Change the networks to the end, even if the caller is cancelled: none is left half configured. Changes of a container go in
        order.
        """
        task = asyncio.ensure_future(self._in_order(work, container_id))
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return await asyncio.shield(task)

    async def _in_order(self, work: Coroutine[Any, Any, T], container_id: str) -> T:
        """Do the work, then give the DNS servers their containers' new zones."""
        lock = self._locks.setdefault(container_id, asyncio.Lock()) if container_id else nullcontext()
        try:
            async with lock:
                return await work
        finally:
            if self._host is not None:
                self._update_zones()
            self._drain_due.set()

    def _update_zones(self) -> None:
        for container_id, zone in self._started().names.take_renamed().items():
            self._dns.set_zone(container_id, zone)

    def _started(self) -> HostNetworks:
        if self._host is None:
            raise UnavailableError("the network driver of this host is not running")
        return self._host

    def open_socket(self, family: int, kind: int) -> socket.socket:
        """A socket in the host's namespace."""
        return self.run_on_host(lambda: socket.socket(family, kind))

    def run_on_host(self, work: Callable[[], T]) -> T:
        """Call `work` in the host's namespace and wait for it."""
        return self._started().namespace.run(work) if self._in_other_namespace else work()

    async def tunnel_mtu(self) -> int:
        """The size of a packet that a tunnel of this host's network device carries."""
        return await self._started().overlays.tunnel_mtu()

    async def encrypted_tunnel_mtu(self) -> int:
        """The size of a packet that an encrypted tunnel of it carries."""
        return await self._started().overlays.encrypted_tunnel_mtu()
