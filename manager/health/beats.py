"""Heartbeat facts in the memory of the leader. Written by the dispatcher for each session, read by ``plan``."""

from __future__ import annotations


class Beats:
    """Times are nanoseconds. ``leading_since_ns`` stands for the last beat of nodes not heard of yet."""

    __slots__ = ("_broken", "_last", "leading_since_ns")

    def __init__(self, leading_since_ns: int) -> None:
        self.leading_since_ns = leading_since_ns
        self._last: dict[str, int] = {}
        self._broken: dict[str, int] = {}

    def beat(self, node_id: str, now_ns: int) -> None:
        """A heartbeat, or the beginning of a session."""
        self._last[node_id] = now_ns
        self._broken.pop(node_id, None)

    def broke(self, node_id: str, now_ns: int) -> None:
        """The node's stream ended."""
        self._broken.setdefault(node_id, now_ns)

    def forget(self, node_id: str) -> None:
        """The node was removed."""
        self._last.pop(node_id, None)
        self._broken.pop(node_id, None)

    def heard(self, node_id: str) -> bool:
        """Whether it was, under this leader."""
        return node_id in self._last

    def last_ns(self, node_id: str) -> int:
        return self._last.get(node_id, self.leading_since_ns)

    def broken_since_ns(self, node_id: str) -> int:
        """0 while the stream holds, or when none was there under this leader."""
        return self._broken.get(node_id, 0)
