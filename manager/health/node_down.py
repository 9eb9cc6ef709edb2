"""Heartbeat timeout: which nodes are DISCONNECTED or DOWN, given their heartbeats. Pure; called by the dispatcher's term."""

from __future__ import annotations

from covey.objects import ClusterSpec, Node, replace
from covey.states import NodeState
from manager.health.heartbeats import HeartbeatTracker
from manager.loop import Plan, Step
from manager.loop.plan import earliest
from manager.store.view import View

HEARTBEAT_TIMEOUT_PERIODS = 3
DISCONNECT_TIMEOUT_PERIODS = 2


def plan_node_states(view: View, heartbeats: HeartbeatTracker, now_ns: int) -> Plan:
    """Marks nodes DISCONNECTED or DOWN. The dispatcher writes READY when a session begins."""
    cluster = next(iter(view.clusters), None)
    period_ns = (cluster.spec if cluster is not None else ClusterSpec()).heartbeat_period_ns
    steps, wake_at_ns = [], 0
    for node in view.nodes:
        if node.status.state is NodeState.DOWN:
            continue
        state, message, next_check_ns = judge_node(node, heartbeats, period_ns, now_ns)
        wake_at_ns = earliest(wake_at_ns, next_check_ns)
        if state is not node.status.state:
            status = replace(node.status, state=state, message=message, changed_at_ns=now_ns)
            steps.append(Step(updates=(replace(node, status=status),)))
    return Plan(tuple(steps), wake_at_ns)


def judge_node(node: Node, heartbeats: HeartbeatTracker, period_ns: int, now_ns: int) -> tuple[NodeState, str, int]:
    """State and message of a node that is not DOWN, and when to judge it again (0 for never).

    A shorter period applies to a node once it has been heard of under it: until then the node may not know of it.
    """
    period_ns = max(period_ns, heartbeats.period_ns(node.id))
    heard_ns = heartbeats.host_silent_since_ns(node.id) or heartbeats.last_heartbeat_ns(node.id)
    heartbeat_due_ns = heard_ns + HEARTBEAT_TIMEOUT_PERIODS * period_ns
    if now_ns >= heartbeat_due_ns:
        return NodeState.DOWN, f"heartbeat failure: no heartbeat for {HEARTBEAT_TIMEOUT_PERIODS} periods", 0
    disconnected_ns = heartbeats.disconnected_since_ns(node.id)
    if not disconnected_ns:
        return node.status.state, node.status.message, heartbeat_due_ns
    return_due_ns = disconnected_ns + DISCONNECT_TIMEOUT_PERIODS * period_ns
    if now_ns >= return_due_ns:
        return NodeState.DOWN, f"its session ended and did not return for {DISCONNECT_TIMEOUT_PERIODS} periods", 0
    if node.status.state is NodeState.READY:
        return NodeState.DISCONNECTED, "its session ended", min(heartbeat_due_ns, return_due_ns)
    return node.status.state, node.status.message, min(heartbeat_due_ns, return_due_ns)
