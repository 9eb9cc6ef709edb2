"""Marks of the routing mesh: how a task's node sends replies back to the node that a connection came in at. Pure.

A connection gets the number of its entry node as a mark, and policy routing leads what has the mark to that node. The rules of the nodes
are in buckets by the lowest bits of the number, because the kernel compares a packet with one rule after the other.

Invariant: a packet without a mark passes four rules, however many nodes there are.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.network.namespace_state import NftChain, PolicyRule

MARK = 0xC000_0000
MARK_MASK = 0xFF00_0000
_NODE_MASK = 0xFFFF
_TABLE = 0x00C0_0000
_IN_MESH_PRIORITY, _FIRST_PRIORITY, _BUCKET_PRIORITY, _NODE_PRIORITY, _LAST_PRIORITY = 69, 70, 72, 100, 200
_BUCKETS = 32


def mark(number: int) -> int:
    """The mark of connections that came in at the node with this number."""
    return MARK | number


def table(number: int) -> int:
    """The routing table that leads to it."""
    return _TABLE + number


def common_rules(device: str, family: int) -> Iterator[PolicyRule]:
    """The rules of all nodes: packets without a mark pass four, and those with one as many as there are buckets and nodes in one."""
    yield PolicyRule(priority=_IN_MESH_PRIORITY, table=254, family=family, input_device=device)
    yield PolicyRule(priority=_FIRST_PRIORITY, goto=_BUCKET_PRIORITY, family=family, mark=MARK, mask=MARK_MASK)
    yield PolicyRule(priority=_FIRST_PRIORITY + 1, goto=_LAST_PRIORITY, family=family)
    for bucket in range(_BUCKETS):
        yield PolicyRule(
            priority=_BUCKET_PRIORITY,
            goto=_NODE_PRIORITY + bucket,
            family=family,
            mark=MARK | bucket,
            mask=MARK_MASK | (_BUCKETS - 1),
        )
    # The end of the node's rules, which are jumped over. Nothing is in its table.
    yield PolicyRule(priority=_LAST_PRIORITY, table=_TABLE, family=family)


def node_rule(number: int, family: int) -> PolicyRule:
    return PolicyRule(
        priority=_NODE_PRIORITY + number % _BUCKETS,
        table=table(number),
        family=family,
        mark=mark(number),
        mask=MARK_MASK | _NODE_MASK,
    )


def chains(device: str) -> dict[str, NftChain]:
    """What keeps in connections the mark of the node that they came in at, and leads replies back there."""
    restore = f"ct direction reply ct mark & 0x{MARK_MASK:08x} == 0x{MARK:08x} meta mark set ct mark"
    return {
        # After firewalls have looked, at `filter` + 10, whether a packet's source is routed to where it came from: with the mark it is not.
        "send-back": NftChain(
            hook="type filter hook prerouting priority 200; policy accept;",
            rules=(restore, f"ct state new iifname {device} ct mark set ether saddr map @marks"),
        ),
        "remember-own": NftChain(hook="type route hook output priority -150; policy accept;", rules=(restore,)),
    }


def on_arrival(device: str) -> tuple[str, ...]:
    """The rules before conntrack: the mark that leads back, and the zone of the entry node. Firewalls that look where a packet's source is
    routed to find them set.
    """
    return (f"iifname {device} meta mark set ether saddr map @marks ct original zone set ether saddr map @zones",)


def wipe(device: str) -> str:
    """The rule that takes the mark from what goes into the tunnel. The tunnel's own packets would inherit it and be routed there again."""
    return f"oifname {device} meta mark set 0"
