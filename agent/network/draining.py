"""Draining of connections to VIPs: after a backend went, its connections are deleted in the sandbox of the network. Pure but for `sweep`.

Invariant: only connections to a VIP whose backends changed are deleted; at the start of the daemon, those to all VIPs of a network.
"""

from __future__ import annotations

import logging
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import NamedTuple

from agent.network import conntrack, netns
from agent.network.backends import Backends, BackendTable, losing_vips
from agent.network.netns import Namespace
from agent.network.plan import vips

logger = logging.getLogger(__name__)


_PAUSE_RATIO = 9
_MAX_PAUSE_SECONDS = 0.25


class Sweep(NamedTuple):
    """Connections to look through: those to the VIPs of `table`, and to any other translated address of `subnets`."""

    network_id: str
    table: BackendTable
    subnets: tuple[IPv4Network | IPv6Network, ...] = ()


class ConnectionDrain:
    """The backends of all VIPs of this host's overlay networks, and the networks whose connections must be looked through."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, dict[str, Backends]]] = {}
        self._vips: dict[str, dict[str, Backends]] = {}
        self._due: dict[str, set[str]] = {}
        self._all_due: dict[str, tuple[str, ...]] = {}

    def set_backends(self, network_id: str, service_id: str, table: dict[str, Backends]) -> None:
        """A service's VIPs have these backends now."""
        services, vips = self._tables.setdefault(network_id, {}), self._vips.setdefault(network_id, {})
        before = services.get(service_id, {})
        lost = losing_vips(before, table)
        if lost:
            self._due.setdefault(network_id, set()).update(lost)
        for vip in before.keys() - table.keys():
            if vips.get(vip) is before[vip]:  # another service may have the address by now
                del vips[vip]
        vips |= table
        if table:
            services[service_id] = table
        else:
            services.pop(service_id, None)

    def adopt(self, network_id: str, subnets: tuple[str, ...]) -> None:
        """The sandbox of a network was left by an earlier process: all its connections are looked through."""
        self._all_due[network_id] = subnets

    def forget(self, network_id: str) -> None:
        for held in (self._tables, self._vips, self._due, self._all_due):
            held.pop(network_id, None)

    def take(self) -> Sweep | None:
        """The next network to look through, or None."""
        if self._all_due:
            network_id, subnets = self._all_due.popitem()
            self._due.pop(network_id, None)
            return Sweep(network_id, dict(self._vips.get(network_id, {})), tuple(ip_network(each) for each in subnets))
        if not self._due:
            return None
        network_id, vips = self._due.popitem()
        current = self._vips.get(network_id, {})
        return Sweep(network_id, {vip: current.get(vip, Backends()) for vip in vips})


def drain_pause(spent: float) -> float:
    """Seconds to wait after a look that took `spent` seconds: looking takes a tenth of a core at most, and nothing waits long."""
    return min(_PAUSE_RATIO * spent, _MAX_PAUSE_SECONDS)


def sweep(path: Path, work: Sweep) -> int:
    """Delete the stale connections of a network's sandbox. Returns their number."""
    if not netns.is_namespace(path):
        return 0
    namespace = Namespace(str(path))
    try:
        count = namespace.run(lambda: conntrack.delete_stale_entries(work.table, work.subnets, vips.TABLE))
    finally:
        namespace.close()
    if count:
        logger.debug("network %s: deleted %d connections to stopped tasks", work.network_id, count)
    return count
