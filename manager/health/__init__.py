"""Which nodes live: a pure decision over heartbeats that the dispatcher keeps in memory.

Law: a slow agent is not a dead one. A node whose stream broke is DISCONNECTED at once, and DOWN when it stays broken for two
periods; a silent one is DOWN after three. Heartbeats are not in the store, so a new leader gives every node the whole time again.
"""

from manager.health.heartbeats import HeartbeatTracker
from manager.health.node_down import plan_node_states

__all__ = ["HeartbeatTracker", "plan_node_states"]
