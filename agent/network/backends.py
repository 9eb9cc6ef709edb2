"""Backend table of service VIPs: which addresses take new connections and which only finish old ones. Pure.

Invariant: only ready endpoints take new connections.

`vip_lb` distributes new connections over the ready backends, `conntrack` ends connections to addresses that are gone.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from covey.objects.assignment import NetworkEndpoint, VirtualService
from covey.states import EndpointMode

logger = logging.getLogger(__name__)

MAX_BACKENDS = 2520
"""Backends of one VIP; as many as the largest slot count of `vip_lb`."""


class BackendTable(NamedTuple):
    """VIP to the addresses behind it.

    `ready` takes new connections and keeps UDP flows. `all` adds draining endpoints, which finish old TCP connections.
    """

    all: Mapping[str, Collection[str]]
    ready: Mapping[str, tuple[str, ...]]


def build_table(services: Collection[VirtualService], endpoints: Collection[NetworkEndpoint]) -> BackendTable:
    return BackendTable(all_backends(services, endpoints), ready_backends(services, endpoints))


def merge_tables(tables: Iterable[BackendTable]) -> BackendTable:
    """The table of a container that is on several networks."""
    every: dict[str, Collection[str]] = {}
    ready: dict[str, tuple[str, ...]] = {}
    for table in tables:
        every |= table.all
        ready |= table.ready
    return BackendTable(every, ready)


def ready_backends(
    services: Iterable[VirtualService], endpoints: Iterable[NetworkEndpoint]
) -> dict[str, tuple[str, ...]]:
    """VIP to the sorted addresses of its ready endpoints, at most MAX_BACKENDS."""
    ready: dict[str, set[str]] = {}
    for endpoint in endpoints:
        if endpoint.ready and endpoint.service_id:
            ready.setdefault(endpoint.service_id, set()).add(endpoint.address)
    table: dict[str, tuple[str, ...]] = {}
    for service in services:
        if service.mode is not EndpointMode.VIP or not service.address:
            continue
        addresses = sorted(ready.get(service.service_id, ()))
        if len(addresses) > MAX_BACKENDS:
            logger.warning(
                "service %s has %d ready tasks, more than a VIP can hold; %s leads to the first %d",
                service.name,
                len(addresses),
                service.address,
                MAX_BACKENDS,
            )
        table[service.address] = tuple(addresses[:MAX_BACKENDS])
    return table


def all_backends(services: Iterable[VirtualService], endpoints: Iterable[NetworkEndpoint]) -> dict[str, frozenset[str]]:
    """VIP to the addresses of all its endpoints, ready or draining."""
    addresses: dict[str, set[str]] = {}
    for endpoint in endpoints:
        addresses.setdefault(endpoint.service_id, set()).add(endpoint.address)
    return {
        service.address: frozenset(addresses.get(service.service_id, ())) for service in services if service.address
    }


def loses_backend(before: BackendTable, after: BackendTable) -> bool:
    """True when an address stops being a backend of a VIP, for TCP or for UDP, so that connections to it may be stale."""
    return any(
        set(addresses) - set(new.get(vip, ()))
        for old, new in ((before.all, after.all), (before.ready, after.ready))
        for vip, addresses in old.items()
    )
