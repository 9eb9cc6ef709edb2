"""Heartbeat tracker: last heartbeat and disconnect time of each node, in the leader's memory.

Invariant: time during which the leader itself was stalled counts against no node, because it could not receive heartbeats then.
Written by the dispatcher's term, read by ``node_down``. Reads no clock.
"""

from __future__ import annotations

from covey.clock import MILLISECOND

CHECK_INTERVAL_NS = 200 * MILLISECOND
"""How often the leader is expected to call ``record_check``."""
STALL_THRESHOLD_NS = 3 * CHECK_INTERVAL_NS
"""A longer gap between two checks means that the process stood still. Shorter delays are within the margin of the timeouts."""


class HeartbeatTracker:
    """All times are in nanoseconds. ``leading_since_ns`` counts as the last heartbeat of nodes not heard of yet."""

    __slots__ = (
        "_disconnected",
        "_last_check_ns",
        "_last_heartbeat",
        "_periods",
        "_silent_hosts",
        "_stall_ended_ns",
        "leading_since_ns",
    )

    def __init__(self, leading_since_ns: int) -> None:
        self.leading_since_ns = leading_since_ns
        self._last_heartbeat: dict[str, int] = {}
        self._disconnected: dict[str, int] = {}
        self._periods: dict[str, int] = {}
        self._silent_hosts: dict[str, int] = {}
        self._stall_ended_ns = 0
        self._last_check_ns = 0

    def record_heartbeat(self, node_id: str, now_ns: int, period_ns: int = 0) -> None:
        """Records a heartbeat, any other message, or the beginning of a session, and the period that applied then."""
        self._last_heartbeat[node_id] = now_ns
        self._periods[node_id] = period_ns
        self._disconnected.pop(node_id, None)
        self._silent_hosts.pop(node_id, None)

    def record_disconnect(self, node_id: str, now_ns: int) -> None:
        """Records that the node's stream ended."""
        self._disconnected.setdefault(node_id, now_ns)

    def record_silent_host(self, node_id: str, heard_ns: int) -> None:
        """Records that the host of a manager answers nothing; its manager was last heard at ``heard_ns``. Of no effect for a node that was
        heard of under this leader: its own heartbeats tell more.
        """
        if node_id not in self._last_heartbeat:
            self._silent_hosts.setdefault(node_id, max(heard_ns, self._stall_ended_ns))

    def record_answering_host(self, node_id: str) -> None:
        """Records that the host of a manager answered, or its manager did."""
        self._silent_hosts.pop(node_id, None)

    def record_check(self, now_ns: int) -> int:
        """Records that the leader is running, and extends all deadlines if it stood still before.

        Called at least every ``CHECK_INTERVAL_NS``, and before every decision about nodes. Returns the length of the stall in
        nanoseconds, 0 if there was none.
        """
        gap_ns = now_ns - self._last_check_ns if self._last_check_ns else 0
        self._last_check_ns = now_ns
        if gap_ns <= STALL_THRESHOLD_NS:
            return 0
        stall_ns = gap_ns - CHECK_INTERVAL_NS
        self.leading_since_ns += stall_ns
        # What was recorded after the stall, but before this check, must not move into the future.
        self._last_heartbeat = {key: min(at_ns + stall_ns, now_ns) for key, at_ns in self._last_heartbeat.items()}
        self._disconnected = {key: min(at_ns + stall_ns, now_ns) for key, at_ns in self._disconnected.items()}
        self._silent_hosts.clear()  # silence is proved again, from now on
        self._stall_ended_ns = now_ns
        return stall_ns

    def forget(self, node_id: str) -> None:
        """Forgets a node that was removed."""
        self._last_heartbeat.pop(node_id, None)
        self._periods.pop(node_id, None)
        self._disconnected.pop(node_id, None)
        self._silent_hosts.pop(node_id, None)

    def has_heartbeat(self, node_id: str) -> bool:
        """Whether the node was heard of under this leader."""
        return node_id in self._last_heartbeat

    def last_heartbeat_ns(self, node_id: str) -> int:
        """Time of the last heartbeat; ``leading_since_ns`` for a node not heard of yet."""
        return self._last_heartbeat.get(node_id, self.leading_since_ns)

    def host_silent_since_ns(self, node_id: str) -> int:
        """When the manager of a host that answers nothing was last heard; 0 while the host answers, or the node was heard of."""
        return self._silent_hosts.get(node_id, 0)

    def period_ns(self, node_id: str) -> int:
        """The period that applied when the node was last heard of; 0 if unknown."""
        return self._periods.get(node_id, 0)

    def disconnected_since_ns(self, node_id: str) -> int:
        """When the node's stream ended; 0 while it is connected, or if it never was under this leader."""
        return self._disconnected.get(node_id, 0)
