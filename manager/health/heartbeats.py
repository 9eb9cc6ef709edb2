"""Heartbeat tracker: last heartbeat and disconnect time of each node, in the leader's memory.

Written by the dispatcher for each session, read by ``node_down``.
"""

from __future__ import annotations


class HeartbeatTracker:
    """Times are nanoseconds. ``leading_since_ns`` stands for the last beat of nodes not heard of yet."""

    __slots__ = ("_disconnected", "_last_heartbeat", "leading_since_ns")

    def __init__(self, leading_since_ns: int) -> None:
        self.leading_since_ns = leading_since_ns
        self._last_heartbeat: dict[str, int] = {}
        self._disconnected: dict[str, int] = {}

    def record_heartbeat(self, node_id: str, now_ns: int) -> None:
        """A heartbeat, or the beginning of a session."""
        self._last_heartbeat[node_id] = now_ns
        self._disconnected.pop(node_id, None)

    def record_disconnect(self, node_id: str, now_ns: int) -> None:
        """The node's stream ended."""
        self._disconnected.setdefault(node_id, now_ns)

    def forget(self, node_id: str) -> None:
        """The node was removed."""
        self._last_heartbeat.pop(node_id, None)
        self._disconnected.pop(node_id, None)

    def has_heartbeat(self, node_id: str) -> bool:
        """Whether it was, under this leader."""
        return node_id in self._last_heartbeat

    def last_heartbeat_ns(self, node_id: str) -> int:
        return self._last_heartbeat.get(node_id, self.leading_since_ns)

    def disconnected_since_ns(self, node_id: str) -> int:
        """0 while the stream holds, or when none was there under this leader."""
        return self._disconnected.get(node_id, 0)
