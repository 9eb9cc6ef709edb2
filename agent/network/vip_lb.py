"""Load balancing of service VIPs: which backend each slot of each VIP leads to, and the nftables commands. Pure.

A VIP is configured on no interface. An nftable in the container's own namespace translates it: one rule and one map per
slot count, and `numgen` counts through the slots.

Invariant: only ready endpoints are backends. A VIP without a backend is refused at once instead of timing out.
Invariant: applying a plan and planning again gives the empty plan.

`nft_commands` and `nft_base_commands` are the only places that know the rule language.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Mapping
from typing import NamedTuple

from agent.network.backends import MAX_BACKENDS

# Highly composite numbers: 1-4, 5, 6, 10, 12, ... backends share the slots exactly, any other number nearly so.
SLOT_COUNTS = (24, 120, 840, MAX_BACKENDS)

Backends = Mapping[str, tuple[str, ...]]


class VipChange(NamedTuple):
    """A VIP's backends before and after a change. None means that the VIP does not exist, empty that it refuses connections."""

    vip: str
    before: tuple[str, ...] | None
    after: tuple[str, ...] | None


VipPlan = tuple[VipChange, ...]


def plan(have: Backends, want: Backends) -> VipPlan:
    """The changes from the programmed backends to the desired ones, removals first."""
    gone = [VipChange(vip, have[vip], None) for vip in sorted(have) if vip not in want]
    changed = [VipChange(vip, have.get(vip), want[vip]) for vip in sorted(want) if have.get(vip) != want[vip]]
    return (*gone, *changed)


def slot_count(backends: int) -> int:
    """The number of slots for that many backends: at least six per backend, as far as the largest count allows."""
    return next(size for size in SLOT_COUNTS if backends <= size // 6 or size == MAX_BACKENDS)


def slots(backends: tuple[str, ...]) -> tuple[str, ...]:
    """The backend of each slot. Every run of len(backends) slots has each backend once, so connections take turns."""
    return tuple(backends[index] for index in _order(len(backends)))


@functools.lru_cache(maxsize=256)
def _order(count: int) -> tuple[int, ...]:
    """Backend numbers by slot, each run shuffled.

    Services share the counter: a client that cycles through several services gets every second, third or fourth slot of each.
    The order still leads it to every backend. With many backends the shuffle alone is good enough.
    """
    size = slot_count(count)
    for seed in itertools.count():
        order: list[int] = []
        while len(order) < size:
            order += sorted(range(count), key=functools.partial(_shuffle_key, seed, len(order)))
        if size > SLOT_COUNTS[0] or all(len(set(order[:size:stride])) == count for stride in (2, 3, 4)):
            return tuple(order[:size])
    raise AssertionError("unreachable: some shuffle always meets the condition")


def _shuffle_key(seed: int, run: int, index: int) -> bytes:
    return hashlib.blake2b(f"{seed} {run} {index}".encode(), digest_size=8).digest()


def nft_commands(changes: VipPlan) -> str:
    """The nft commands that carry out the changes, for one transaction."""
    removed: list[str] = []
    added: list[str] = []
    for change in changes:
        if change.before is None:
            added.append(f"add element ip covey vips {{ {change.vip} }}")
        if change.after is None:
            removed.append(f"delete element ip covey vips {{ {change.vip} }}")
        _slot_commands(change, removed, added)
    return "\n".join((*removed, *added))


def _slot_commands(change: VipChange, removed: list[str], added: list[str]) -> None:
    before = _slot_table(change.before)
    after = _slot_table(change.after)
    old_size, new_size = len(before), len(after)
    if old_size != new_size:
        if before:
            removed.append(f"delete element ip covey vips{old_size} {{ {change.vip} }}")
        if after:
            added.append(f"add element ip covey vips{new_size} {{ {change.vip} }}")
    same = before.keys() & after.keys() if old_size == new_size else set()
    unchanged = {slot for slot in same if before[slot] == after[slot]}
    gone = ", ".join(f"{change.vip} . {slot}" for slot in before if slot not in unchanged)
    come = ", ".join(f"{change.vip} . {slot} : {backend}" for slot, backend in after.items() if slot not in unchanged)
    if gone:
        removed.append(f"delete element ip covey be{old_size} {{ {gone} }}")
    if come:
        added.append(f"add element ip covey be{new_size} {{ {come} }}")


def _slot_table(backends: tuple[str, ...] | None) -> dict[int, str]:
    return dict(enumerate(slots(backends))) if backends else {}


def nft_base_commands(resolver_address: str, udp_port: int, tcp_port: int) -> str:
    """The nft commands that replace the container's table with an empty one. Elements follow in the same transaction."""
    slot_rules = "\n".join(
        f"add set ip covey vips{size} {{ type ipv4_addr; }}\n"
        f"add map ip covey be{size} {{ typeof ip daddr . numgen inc mod {size} : ip daddr; }}\n"
        f"add rule ip covey balance ip daddr @vips{size} dnat to ip daddr . numgen inc mod {size} map @be{size}"
        for size in SLOT_COUNTS
    )
    return f"""
add table ip covey
delete table ip covey
add table ip covey
add set ip covey vips {{ type ipv4_addr; }}
add chain ip covey balance
{slot_rules}
add chain ip covey output {{ type nat hook output priority -100; }}
add rule ip covey output ip daddr {resolver_address} udp dport 53 dnat to {resolver_address}:{udp_port}
add rule ip covey output ip daddr {resolver_address} tcp dport 53 dnat to {resolver_address}:{tcp_port}
add rule ip covey output ip daddr @vips jump balance
add chain ip covey prerouting {{ type nat hook prerouting priority -100; }}
add rule ip covey prerouting ip daddr @vips jump balance
add chain ip covey refuse {{ type filter hook output priority 0; }}
add rule ip covey refuse ip daddr @vips meta l4proto tcp reject with tcp reset
add rule ip covey refuse ip daddr @vips reject
"""
