"""All resolvers of a host, and the task group that owns their work.

Law: one per daemon, started and closed with the network driver; a container's sockets are closed with its resolver.
Nothing here touches a namespace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from agent.dns.forward import Forwarder
from agent.dns.server import ContainerResolver, ResolverSockets
from agent.dns.zone import Zone

logger = logging.getLogger(__name__)


class DnsService:
    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._resolvers: dict[str, ContainerResolver] = {}
        self._group: asyncio.TaskGroup | None = None
        self._home: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def start(self) -> None:
        opened = asyncio.Event()
        # The one task that is nobody's child: it holds the group between start and close, and close awaits it.
        self._home = asyncio.create_task(self._keep_group(opened), name="covey-dns")
        await opened.wait()

    async def close(self) -> None:
        for container_id in tuple(self._resolvers):
            await self.stop(container_id)
        self._closing.set()
        if self._home is not None:
            await self._home

    async def serve(self, container_id: str, sockets: ResolverSockets, zone: Zone, servers: Sequence[str] = ()) -> None:
        """Take the sockets over; an earlier resolver of the same container is stopped."""
        await self.stop(container_id)
        resolver = ContainerResolver(sockets, zone, self._forwarder, self._spawn, servers)
        self._resolvers[container_id] = resolver
        resolver.start()

    def serves(self, container_id: str) -> bool:
        return container_id in self._resolvers

    def use(self, container_id: str, zone: Zone) -> None:
        if container_id in self._resolvers:
            self._resolvers[container_id].use(zone)

    async def stop(self, container_id: str) -> None:
        resolver = self._resolvers.pop(container_id, None)
        if resolver is not None:
            await resolver.stop()

    async def _keep_group(self, opened: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as self._group:
            opened.set()
            await self._closing.wait()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        if self._group is None:
            work.close()
            raise RuntimeError("the DNS service is not started")
        return self._group.create_task(_contained(work))


async def _contained(work: Coroutine[Any, Any, None]) -> None:
    """One container's trouble must not end the others' resolvers."""
    try:
        await work
    except Exception:
        logger.exception("a resolver's task failed")
