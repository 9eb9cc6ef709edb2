"""Nodes that got a certificate and never became members: their join was refused, or broke off. Pure; called by the dispatcher's term.

A manager is demoted first: the role manager takes it out of the managers' group, if it is in it, and then it goes as a worker does.
Invariant: a node that was ever READY is never removed here, and neither is a manager that votes.
"""

from __future__ import annotations

from collections.abc import Iterator

from covey.clock import SECOND
from covey.objects import Node, NodeDescription, replace
from covey.states import NodeRole, Reachability
from manager.health.heartbeats import HeartbeatTracker
from manager.loop import Step
from manager.revocation import revoke
from manager.store.view import View

ABANDONED_AFTER_NS = 60 * SECOND
"""A host gives up its join after 40 s, and forgets the certificate."""


def has_never_joined(node: Node) -> bool:
    """Whether a node has never told the leader of itself. Its host may have a manager that votes."""
    return not node.status.addr and node.description == NodeDescription()


def is_manager(node: Node) -> bool:
    return NodeRole.MANAGER in {node.role, node.spec.desired_role}


def demotion(node: Node) -> Node:
    """The node on its way out of the managers' group."""
    return replace(node, spec=replace(node.spec, desired_role=NodeRole.WORKER))


def removal(view: View, node: Node, now_ns: int) -> Step:
    """Removes the node, and revokes the certificate that it got."""
    return Step(removes=(node,), updates=tuple([revoke(cluster, node.id, now_ns) for cluster in view.clusters]))


def plan_abandoned_joins(view: View, heartbeats: HeartbeatTracker, now_ns: int) -> Iterator[Step]:
    """Removes or demotes one node that did not begin a session in time. One at a time, because each removal changes the cluster's list of
    revocations.
    """
    for node in view.nodes:
        if not has_never_joined(node) or now_ns < heartbeats.last_heartbeat_ns(node.id) + ABANDONED_AFTER_NS:
            continue
        if not is_manager(node):
            yield removal(view, node, now_ns)
            return
        if node.spec.desired_role is NodeRole.MANAGER and not _votes(node):
            yield Step(updates=(demotion(node),))
            return


def _votes(node: Node) -> bool:
    return node.manager_status is not None and node.manager_status.reachability is Reachability.REACHABLE
