"""Reads the counters of the host's guard of overlay networks from the kernel.

They count from when the chain was last loaded: a repair of it begins at zero.
"""

from __future__ import annotations

from agent.network.kernel.nft_listing import parse_tables
from agent.network.netns import Namespace
from agent.network.nftables import NftablesContext
from agent.network.plan.dropped_packets import DroppedPackets, parse_dropped
from agent.network.plan.members import CHAIN, table_name


def read_dropped(namespace: Namespace, prefix: str) -> DroppedPackets:
    """The counters of the host's namespace. Raises UnavailableError if nftables does not answer."""
    context = NftablesContext(namespace)
    try:
        if table_name(prefix) not in parse_tables(context.list_json("list tables inet")):
            return DroppedPackets()
        return parse_dropped(context.list_counters(f"list chain {table_name(prefix)} {CHAIN}"))
    finally:
        context.close()
