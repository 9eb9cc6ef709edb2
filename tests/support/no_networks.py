"""A node whose networks are always as wanted, for tests of the session."""

from __future__ import annotations

from collections.abc import Collection, Sequence

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

    async def read(self, namespaces: Collection[str]) -> bytes:
        return " ".join(sorted(namespaces)).encode()
