"""What networks need to know of their host: its addresses, its routes, and the MTU of its way out.

Owned by `host_networks`.
"""

from __future__ import annotations

from agent.network import links
from agent.network.kernel_thread import KernelThread
from agent.network.model import HostRoute
from agent.network.netns import Namespace


class HostFacts:
    """One per host, read anew at each call."""

    def __init__(self, namespace: Namespace, thread: KernelThread) -> None:
        self._namespace = namespace
        self._thread = thread

    async def addresses(self) -> tuple[str, ...]:
        """The host's own addresses of both families, without loopback, link-local ones and those of Covey's devices."""
        return await self._thread.run(
            lambda: links.run_in_namespace(self._namespace, "read the host's addresses", links.host_addresses)
        )

    async def outbound_mtu(self) -> int:
        """The MTU of the device of the host's default route, 1500 without one."""
        return await self._thread.run(
            lambda: links.run_in_namespace(
                self._namespace, "read the MTU", lambda route: links.underlay_device(route, "")[1]
            )
        )

    async def routes(self) -> tuple[HostRoute, ...]:
        """The routes of the host's main table, with their devices; without default routes."""
        return await self._thread.run(lambda: self._namespace.run(links.host_routes))
