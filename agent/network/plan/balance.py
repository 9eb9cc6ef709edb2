"""Balancing of new connections over addresses, as one rule of nftables. Pure.

Invariant: every address gets the same share: `numgen` counts through exactly as many slots as there are addresses.
Invariant: hosts and services begin at different addresses, so that first connections do not all meet the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def balance(match: str, addresses: Sequence[str], seed: str, port: int = 0) -> str:
    """A rule that leads what `match` selects to the addresses in turns, to their `port` if one is given."""
    turned = rotate(addresses, seed)
    family = "ip6" if ":" in addresses[0] else "ip"
    suffix = f" . {port}" if port else ""
    if len(turned) == 1:
        target = f"{f'[{turned[0]}]' if port and family == 'ip6' else turned[0]}" + (f":{port}" if port else "")
        return f"{match} dnat {family} to {target}".strip()
    slots = ", ".join(f"{slot} : {address}{suffix}" for slot, address in enumerate(turned))
    return f"{match} dnat {family} to numgen inc mod {len(turned)} map {{ {slots} }}".strip()


def rotate(addresses: Sequence[str], seed: str) -> tuple[str, ...]:
    """The addresses in a fixed order that begins where the seed says."""
    ordered = sorted(addresses)
    start = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=4).digest()) % len(ordered)
    return (*ordered[start:], *ordered[:start])
