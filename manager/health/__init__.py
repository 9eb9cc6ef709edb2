"""Node-down detection: a pure decision over the heartbeats that the dispatcher keeps in memory.

Invariant: a slow agent is not marked DOWN. A node whose stream broke is DISCONNECTED at once, and DOWN if it stays away for two periods. A
silent node is DOWN after three periods. Heartbeats are not stored, so a new leader gives every node the full timeout again, except the
host of a manager that it heard before it led: the Raft messages of that manager are its heartbeats, once the host answers nothing.
"""

from manager.health.abandoned_joins import demotion, has_never_joined, is_manager, plan_abandoned_joins, removal
from manager.health.heartbeats import CHECK_INTERVAL_NS, HeartbeatTracker
from manager.health.node_down import plan_node_states

__all__ = [
    "CHECK_INTERVAL_NS",
    "HeartbeatTracker",
    "demotion",
    "has_never_joined",
    "is_manager",
    "plan_abandoned_joins",
    "plan_node_states",
    "removal",
]
