"""Published ports of containers: their own, and the place of a task for the routing mesh.

Owned by `container_networks`.
"""

from __future__ import annotations

import msgspec

from agent.container.model import ContainerConfig, NetworkConnection
from agent.endpoint.local_endpoints import LocalEndpoints
from agent.endpoint.port_plan import all_published
from agent.endpoint.port_publisher import PortPublisher
from agent.endpoint.routing_mesh import RoutingMesh
from agent.network.port_registry import PortOwner
from covey.errors import PortInUseError


class ContainerPorts:
    """One per daemon. ``ports`` publishes ports of containers, ``mesh`` those of services; None for neither."""

    def __init__(self, local: LocalEndpoints, ports: PortPublisher | None, mesh: RoutingMesh | None) -> None:
        self._local = local
        self._ports = ports
        self._mesh = mesh

    async def publish(self, config: ContainerConfig, connection: NetworkConnection) -> NetworkConnection:
        """Publish the container's ports on the endpoint with the default route, and tell the mesh where a task is.

        Raises PortInUseError in Docker's words.
        """
        found = self._local.reached_by_host(config.id, connection.endpoints)
        if self._mesh is not None:
            await self._mesh.set_subnets(self._local.subnets())
            if found is not None and config.task_id:
                await self._mesh.set_container(config.id, config.task_id, found)
        bindings = config.port_bindings
        if config.publish_all_ports:
            bindings = all_published(bindings, config.exposed_ports)
        if self._ports is None:
            return connection
        if found is None or not bindings:
            await self._ports.withdraw(config.id)
            return msgspec.structs.replace(connection, published=())
        try:
            ports = await self._ports.publish(PortOwner(config.id, config.name), bindings, found, config.published)
        except PortInUseError as error:
            raise PortInUseError(
                f"driver failed programming external connectivity on endpoint {config.name} "
                f"({found.endpoint_id}): {error.message}"
            ) from None
        return msgspec.structs.replace(connection, published=ports)

    async def withdraw(self, container_id: str) -> None:
        """Withdraw what is published of a container."""
        if self._ports is not None:
            await self._ports.withdraw(container_id)
        if self._mesh is not None:
            await self._mesh.remove_container(container_id)
