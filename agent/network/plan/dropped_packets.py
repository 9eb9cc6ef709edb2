"""VXLAN packets that the host's guard of overlay networks counted: the counters in the kernel's listing of its chain. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from agent.network.plan.members import STRANGERS, UNKNOWN


class DroppedPackets(msgspec.Struct, frozen=True, kw_only=True):
    """`strangers` came from hosts that are no members of the network, `unknown` had the id of no network of this host."""

    strangers: int = 0
    unknown: int = 0


def parse_dropped(listing: bytes) -> DroppedPackets:
    """The counters in the listing of the guard's chain, by the comments of its rules."""
    counts = {STRANGERS: 0, UNKNOWN: 0}
    for entry in msgspec.json.decode(listing)["nftables"]:
        rule: dict[str, Any] = entry.get("rule", {})
        if rule.get("comment") in counts:
            counts[rule["comment"]] += sum(
                each["counter"]["packets"] for each in rule["expr"] if isinstance(each.get("counter"), dict)
            )
    return DroppedPackets(strangers=counts[STRANGERS], unknown=counts[UNKNOWN])
