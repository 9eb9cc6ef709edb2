"""DNS servers of all containers on a host, by container id.

Invariant: a container's sockets are served from `serve` to `stop`.

One per daemon. The network driver starts and stops the servers and sets their zones. Nothing here enters a namespace.
"""

from __future__ import annotations

from agent.dns.forwarder import DnsForwarder
from agent.dns.server import ContainerResolver, ResolverSockets, Spawn
from agent.dns.upstream import Upstream
from agent.dns.zone import Zone


class ContainerResolvers:
    """Starts and stops the DNS server of each container. `spawn` runs a coroutine in the driver's background tasks."""

    def __init__(self, forwarder: DnsForwarder, spawn: Spawn) -> None:
        self._forwarder = forwarder
        self._spawn = spawn
        self._resolvers: dict[str, ContainerResolver] = {}

    async def close(self) -> None:
        """Stop all servers."""
        for container_id in tuple(self._resolvers):
            await self.stop(container_id)

    async def serve(self, container_id: str, sockets: ResolverSockets, zone: Zone, upstream: Upstream) -> None:
        """Start a DNS server on the sockets. An earlier server of the container is stopped."""
        await self.stop(container_id)
        resolver = ContainerResolver(sockets, zone, self._forwarder, self._spawn, upstream)
        self._resolvers[container_id] = resolver
        resolver.start()

    def is_serving(self, container_id: str) -> bool:
        return container_id in self._resolvers

    def set_zone(self, container_id: str, zone: Zone) -> None:
        if container_id in self._resolvers:
            self._resolvers[container_id].set_zone(zone)

    async def stop(self, container_id: str) -> None:
        resolver = self._resolvers.pop(container_id, None)
        if resolver is not None:
            await resolver.stop()
