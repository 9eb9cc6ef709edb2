"""A node whose networks are always as wanted, for tests of the session."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from agent.network.plan.dropped_packets import DroppedPackets
from agent.session.interfaces import NetworkDifference


class NoNetworks:
    """Implements ``agent.session.interfaces.NetworksPort``."""

    def __init__(self, found: Sequence[NetworkDifference] = ()) -> None:
        """``found`` differs until it is repaired."""
        self.found = found

    async def verify(self) -> Sequence[NetworkDifference]:
        return self.found

    async def repair(self) -> Sequence[NetworkDifference]:
        found, self.found = self.found, ()
        return found

    async def dropped_packets(self) -> DroppedPackets:
        return DroppedPackets(strangers=3, unknown=4)

    async def read(self, namespaces: Collection[str]) -> bytes:
        return " ".join(sorted(namespaces)).encode()
