"""Backends of service VIPs: which addresses take new connections and which only finish old ones. Pure.

Invariant: only ready endpoints take new connections.

`plan.vips` distributes new connections over the ready backends, `draining` ends connections to addresses that are gone.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import NamedTuple, TypeAlias

from covey.objects.assignment import NetworkEndpoint, VirtualService
from covey.states import EndpointMode

logger = logging.getLogger(__name__)

MAX_BACKENDS = 2520
"""Backends of one VIP."""


class Backends(NamedTuple):
    """The addresses behind a VIP. `ready` take new connections and keep UDP flows; `all` have draining ones too, which finish old TCP
    connections.
    """

    all: frozenset[str] = frozenset()
    ready: tuple[str, ...] = ()


BackendTable: TypeAlias = Mapping[str, Backends]
"""Backends by VIP."""


def service_backends(service: VirtualService | None, endpoints: Collection[NetworkEndpoint]) -> dict[str, Backends]:
    """The backends of a service's VIPs, one of each family at most. `endpoints` are all of the service, ready or draining."""
    if service is None or service.mode is not EndpointMode.VIP:
        return {}
    table: dict[str, Backends] = {}
    for vip, is_v6 in ((service.address, False), (service.address6, True)):
        if vip:
            addresses = [(each.address6 if is_v6 else each.address, each.ready) for each in endpoints]
            ready = sorted({address for address, is_ready in addresses if address and is_ready})
            if len(ready) > MAX_BACKENDS:
                logger.warning(
                    "service %s has %d ready tasks, more than a VIP can hold; %s leads to the first %d",
                    service.name,
                    len(ready),
                    vip,
                    MAX_BACKENDS,
                )
            table[vip] = Backends(
                frozenset(address for address, _ in addresses if address), tuple(ready[:MAX_BACKENDS])
            )
    return table


def losing_vips(before: BackendTable, after: BackendTable) -> set[str]:
    """The VIPs of which an address stops being a backend, for TCP or for UDP, so that connections to it may be stale."""
    return {
        vip
        for vip, old in before.items()
        if old.all - after.get(vip, Backends()).all or set(old.ready) - set(after.get(vip, Backends()).ready)
    }
