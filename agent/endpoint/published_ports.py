"""All published ports of this node: those of containers and tasks, and the routing mesh, over one registry of the host's ports."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from pathlib import Path

from agent.endpoint.loopback_ports import LoopbackPorts
from agent.endpoint.port_publisher import PortHost, PortPublisher
from agent.endpoint.routing_mesh import RoutingMesh
from agent.network import conntrack, port_owner
from agent.network.bpf.loopback6 import Loopback6, namespace_cookie
from agent.network.driver import NetworkDriver
from agent.network.mesh_state import EndedFlows, MeshHost
from agent.network.plan.mesh_model import mesh_table
from agent.network.port_registry import PortRegistry
from covey.errors import CoveyError

log = logging.getLogger(__name__)


class PublishedPorts:
    """One per daemon, over the network driver. `default_address` is where ports without an address are published."""

    def __init__(self, networks: NetworkDriver, default_address: str = "") -> None:
        self._networks = networks
        self._loopback = LoopbackPorts()
        self._table: Loopback6 | None = None
        self._registry = PortRegistry(networks.open_socket, _HostPorts(networks))
        host = PortHost(self._registry, networks.reconciler, self._loopback, self._end_flows)
        self.publisher = PortPublisher(networks.prefix, host, default_address)
        self.mesh = RoutingMesh(MeshHost(prefix=networks.prefix), host, networks.reconciler, self._end_mesh_flows)

    async def start(self, unified_cgroup: Path | None) -> None:
        """Open what needs the running driver. `unified_cgroup` is the root of the cgroup2 hierarchy, None on a host without one."""
        try:
            if unified_cgroup is not None:
                self._table = await asyncio.to_thread(self._open_table, str(unified_cgroup))
        except CoveyError as error:
            log.warning("%s", error.message)
        self._loopback.use(self._table)

    async def close(self) -> None:
        """Free the reservations. Rules of the kernel stay, and the next process takes them over."""
        self._loopback.use(None)
        if self._table is not None:
            self._table.close()
        self._registry.close()

    def _open_table(self, cgroup: str) -> Loopback6:
        return Loopback6(cgroup, self._networks.run_on_host(namespace_cookie))

    def _end_flows(self, ports: Collection[int]) -> None:
        self._delete_connections(lambda: conntrack.delete_udp_flows(ports))

    def _end_mesh_flows(self, ended: EndedFlows) -> None:
        table = mesh_table(self._networks.prefix)
        self._delete_connections(lambda: conntrack.delete_flows_to_backends(ended.udp, ended.gone, table))

    def _delete_connections(self, delete: Callable[[], int]) -> None:
        """Delete what the kernel remembers. A failure is logged: connections then end by themselves, later."""
        try:
            count = self._networks.run_on_host(delete)
        except (CoveyError, OSError) as error:
            log.warning("connections to containers that are gone could not be deleted: %s", error)
        else:
            log.debug("deleted %d connections to containers that are gone", count)


class _HostPorts:
    """Ports that other programs of the host hold, as seen in its namespace."""

    def __init__(self, networks: NetworkDriver) -> None:
        self._networks = networks

    def find(self, protocol: str, port: int) -> str:
        return self._networks.run_on_host(lambda: port_owner.find(protocol, port))

    def is_only_closing(self, protocol: str, port: int) -> bool:
        return self._networks.run_on_host(lambda: port_owner.is_only_closing(protocol, port))
