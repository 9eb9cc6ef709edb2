"""Plan of an overlay network's forwarding database (FDB): which remote address is behind which host. Pure.

One entry per remote endpoint stands for three kernel entries (VXLAN FDB, bridge FDB, neighbour). All are derived from
the endpoint's address. `fdb_netlink` turns a plan into netlink messages.

Invariant: applying a plan and planning again gives the empty plan.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from covey.objects.assignment import NetworkEndpoint


class FdbEntry(NamedTuple):
    """Endpoint address (no prefix) and the VTEP address of the endpoint's host."""

    address: str
    host: str


class FdbPlan(NamedTuple):
    upserts: tuple[FdbEntry, ...] = ()
    removals: tuple[FdbEntry, ...] = ()


def remote_hosts(
    endpoints: Iterable[NetworkEndpoint], own_host: str, local_addresses: Container[str]
) -> dict[str, str]:
    """Address to host of every endpoint on another host.

    Two endpoints may claim one address while the old task is not gone yet. It belongs to the ready one, then to the greater id.
    """
    claims: dict[str, tuple[bool, str, str]] = {}
    for endpoint in endpoints:
        if endpoint.address in local_addresses:
            continue
        claim = (endpoint.ready, endpoint.id, endpoint.host)
        if endpoint.address not in claims or claims[endpoint.address] < claim:
            claims[endpoint.address] = claim
    return {address: host for address, (_, _, host) in claims.items() if host and host != own_host}


def plan(have: Mapping[str, str], want: Mapping[str, str]) -> FdbPlan:
    """The entries to put and to remove, to get from `have` to `want` (address to host)."""
    upserts = tuple(FdbEntry(a, want[a]) for a in sorted(want) if have.get(a) != want[a])
    removals = tuple(FdbEntry(a, have[a]) for a in sorted(have) if a not in want)
    return FdbPlan(upserts, removals)


def apply_plan(have: Mapping[str, str], change: FdbPlan) -> dict[str, str]:
    """The entries in the kernel once the plan was carried out."""
    after = dict(have)
    for entry in change.removals:
        after.pop(entry.address, None)
    for entry in change.upserts:
        after[entry.address] = entry.host
    return after
