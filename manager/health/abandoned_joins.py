"""Nodes that got a certificate and never became members: their join was refused, or broke off. Pure; called by the dispatcher's term.

Invariant: a node that was ever READY is never removed here, and neither is a manager, which may be a member of the Raft group.
"""

from __future__ import annotations

from collections.abc import Iterator

from covey.clock import SECOND
from covey.objects import Node, NodeDescription
from covey.states import NodeRole
from manager.health.heartbeats import HeartbeatTracker
from manager.loop import Step
from manager.revocation import revoke
from manager.store.view import View

ABANDONED_AFTER_NS = 60 * SECOND
"""A host gives up its join after 40 s, and forgets the certificate."""


def has_never_joined(node: Node) -> bool:
    """Whether a worker has never told the leader of itself."""
    is_worker = node.role is NodeRole.WORKER and node.spec.desired_role is NodeRole.WORKER
    return is_worker and not node.status.addr and node.description == NodeDescription()


def removal(view: View, node: Node, now_ns: int) -> Step:
    """Removes the node, and revokes the certificate that it got."""
    return Step(removes=(node,), updates=tuple([revoke(cluster, node.id, now_ns) for cluster in view.clusters]))


def plan_abandoned_joins(view: View, heartbeats: HeartbeatTracker, now_ns: int) -> Iterator[Step]:
    """Removes one node that did not begin a session in time. One at a time, because each changes the cluster's list of revocations."""
    for node in view.nodes:
        if has_never_joined(node) and now_ns >= heartbeats.last_heartbeat_ns(node.id) + ABANDONED_AFTER_NS:
            yield removal(view, node, now_ns)
            return
