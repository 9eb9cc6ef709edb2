"""Published ports on `[::1]` by their owner: containers and the routing mesh share one table of the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from agent.network.bpf.loopback6 import LoopbackPort, LoopbackTarget


class LoopbackTable(Protocol):
    """``agent.network.bpf.loopback6.Loopback6``."""

    def set_ports(self, wanted: Mapping[LoopbackPort, LoopbackTarget]) -> None: ...


class LoopbackPorts:
    """One per daemon. Without a table, on a kernel that has none, it does nothing."""

    def __init__(self, table: LoopbackTable | None = None) -> None:
        self._table = table
        self._ports: dict[str, Mapping[LoopbackPort, LoopbackTarget]] = {}

    def set(self, owner: str, ports: Mapping[LoopbackPort, LoopbackTarget]) -> None:
        """The ports of an owner, in place of those that it had."""
        if ports == self._ports.get(owner, {}):
            return
        if ports:
            self._ports[owner] = ports
        else:
            del self._ports[owner]
        self._fill()

    def use(self, table: LoopbackTable | None) -> None:
        """Use this table from now on."""
        self._table = table
        self._fill()

    def _fill(self) -> None:
        if self._table is not None:
            self._table.set_ports({port: to for found in self._ports.values() for port, to in found.items()})
