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
    """Nodes to mark DISCONNECTED or DOWN now, and when the next may be. READY is written by the dispatcher at a session's start."""
    cluster = next(iter(view.clusters), None)
    period_ns = (cluster.spec if cluster is not None else ClusterSpec()).heartbeat_period_ns
    steps, wake = [], 0
    for node in view.nodes:
        if node.status.state is NodeState.DOWN:
            continue
        state, message, next_ns = judge_node(node, heartbeats, period_ns, now_ns)
        wake = earliest(wake, next_ns)
        if state is not node.status.state:
            status = replace(node.status, state=state, message=message, changed_at_ns=now_ns)
            steps.append(Step(updates=(replace(node, status=status),)))
    return Plan(tuple(steps), wake)


def judge_node(node: Node, heartbeats: HeartbeatTracker, period_ns: int, now_ns: int) -> tuple[NodeState, str, int]:
    """State, message and when to judge again (0 when never) of a node that is not DOWN."""
    silent_at = heartbeats.last_heartbeat_ns(node.id) + HEARTBEAT_TIMEOUT_PERIODS * period_ns
    if now_ns >= silent_at:
        return NodeState.DOWN, f"heartbeat failure: nothing came for {HEARTBEAT_TIMEOUT_PERIODS} periods", 0
    broken_since = heartbeats.disconnected_since_ns(node.id)
    if not broken_since:
        return node.status.state, node.status.message, silent_at
    broken_at = broken_since + DISCONNECT_TIMEOUT_PERIODS * period_ns
    if now_ns >= broken_at:
        return NodeState.DOWN, f"its session ended and did not return for {DISCONNECT_TIMEOUT_PERIODS} periods", 0
    if node.status.state is NodeState.READY:
        return NodeState.DISCONNECTED, "its session ended", min(silent_at, broken_at)
    return node.status.state, node.status.message, min(silent_at, broken_at)
