"""Looks at what the kernel of this host holds: for `network verify`, in words, and for a trace, as it is read.

Owned by `driver`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from agent.network.firewall_watch import FirewallWatch
from agent.network.namespace_state import HOST
from agent.network.plan.difference_text import DifferenceText, difference_texts
from agent.network.reconciler import Reconciler
from agent.network.trace.reading import BlockingChain, HostReading, encode
from agent.network.wireguard.device import read_tunnel_peers


class NetworkInspection:
    """`run_on_host` calls its argument in the host's namespace and waits for it."""

    def __init__(
        self,
        reconciler: Reconciler,
        firewall: FirewallWatch,
        run_on_host: Callable[[Callable[[], frozenset[str] | None]], frozenset[str] | None],
    ) -> None:
        self._reconciler = reconciler
        self._firewall = firewall
        self._run_on_host = run_on_host

    async def verify(self) -> tuple[DifferenceText, ...]:
        """How the kernel's state of this host differs from what is wanted."""
        return (*difference_texts(await self._reconciler.verify()), *await self._dropping_chains())

    async def repair(self) -> tuple[DifferenceText, ...]:
        """Carry the differences out. Returns those that were found."""
        return (*difference_texts(await self._reconciler.repair()), *await self._dropping_chains())

    async def read(self, namespaces: Collection[str]) -> bytes:
        """What the kernel holds in these namespaces. Those that the host does not have are left out."""
        prefix = self._reconciler.prefix
        found = await self._reconciler.read(namespaces)
        blocked = tuple(BlockingChain(one.place, one.remedy(prefix)) for one in await self._firewall.check())
        peers: frozenset[str] | None = None
        if HOST in found and any(name.startswith(f"{prefix}-wg") for name in found[HOST].state.links):
            peers = await asyncio.to_thread(self._run_on_host, read_tunnel_peers)
        reading = HostReading(
            prefix=prefix,
            namespaces=found,
            blocked=blocked,
            addresses=self._reconciler.container_addresses(),
            tunnel_peers=peers,
        )
        return await asyncio.to_thread(encode, reading)

    async def _dropping_chains(self) -> tuple[DifferenceText, ...]:
        """Chains of the host's own firewall that drop containers' packets, with the remedy. Only its operator repairs them."""
        return tuple(
            DifferenceText(
                "host",
                "foreign",
                f"chain {chain.place}",
                chain.remedy(self._reconciler.prefix),
                "drops forwarded packets",
            )
            for chain in await self._firewall.check()
        )
