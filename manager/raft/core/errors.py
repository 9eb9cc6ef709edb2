"""Errors of the Raft core, with attributes so that callers never parse text.

`ProposalDropped` and `ConfChangeRefused`: the caller's request had no effect. `CompactedError`, `NotInLogError` and
`SnapshotUnavailableError`: raised by a `Storage` and handled by the core. `InvariantError` and `DataLossError`: the
node must stop, because going on could lose acknowledged writes.
"""

from __future__ import annotations


class RaftError(Exception):
    """Base of all errors of the core."""


class ProposalDropped(RaftError):  # noqa: N818 - etcd/raft's name; it says what happened
    """The request did not enter the log and may be repeated. `leader` is NO_PEER if none is known."""

    def __init__(self, reason: str, leader: int = 0) -> None:
        super().__init__(f"proposal dropped: {reason}")
        self.reason = reason
        self.leader = leader


class ConfChangeRefused(RaftError):  # noqa: N818 - as above
    """The configuration change is not possible from the current configuration."""


class CompactedError(RaftError):
    """The entry was compacted into a snapshot."""

    def __init__(self, index: int) -> None:
        super().__init__(f"log index {index} has been compacted")
        self.index = index


class NotInLogError(RaftError):
    """The index is beyond the end of the log."""

    def __init__(self, index: int) -> None:
        super().__init__(f"log index {index} is not in the log yet")
        self.index = index


class SnapshotUnavailableError(RaftError):
    """The storage has no snapshot now; the core asks again later."""


class InvariantError(RaftError):
    """An invariant of Raft is violated: by a bug, or by two nodes that share an id or a disk."""


class DataLossError(InvariantError):
    """This node lacks entries that it acknowledged: its disk lost them or was replaced."""

    def __init__(self, commit: int, last_index: int) -> None:
        super().__init__(
            f"the cluster has committed log index {commit}, which this node acknowledged, but its log ends at index {last_index}; "
            "remove this node from the cluster and join it again with an empty disk",
        )
        self.commit = commit
        self.last_index = last_index
