"""The Raft core: a deterministic state machine that takes messages, ticks and proposals and returns a `Ready`.

Invariant: nothing here reads a clock, a disk, a network or a source of randomness. Everything follows from the calls
made on `RawNode` and from the injected `Randint`, so the same calls give the same run under a driver or a simulator.
Source of the algorithm: Ongaro, "Consensus: Bridging Theory and Practice" (2014), chapters 3, 4, 6 and 9.6 (pre-vote).
"""

from manager.raft.core.config import RaftConfig, Randint
from manager.raft.core.errors import (
    CompactedError,
    ConfChangeRefused,
    DataLossError,
    InvariantError,
    NotInLogError,
    ProposalDropped,
    RaftError,
    SnapshotUnavailableError,
)
from manager.raft.core.node import PeerStatus, RawNode, Ready, Status
from manager.raft.core.progress import ProgressState
from manager.raft.core.storage import MemoryStorage, Storage, bootstrap_snapshot
from manager.raft.core.types import (
    NO_PEER,
    ChangeKind,
    ConfChange,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    ReadState,
    Role,
    SingleChange,
    Snapshot,
    SnapshotMeta,
    SoftState,
    Transition,
)

__all__ = [
    "NO_PEER",
    "ChangeKind",
    "CompactedError",
    "ConfChange",
    "ConfChangeRefused",
    "ConfState",
    "DataLossError",
    "Entry",
    "EntryKind",
    "HardState",
    "InvariantError",
    "MemoryStorage",
    "Message",
    "MessageKind",
    "NotInLogError",
    "PeerStatus",
    "ProgressState",
    "ProposalDropped",
    "RaftConfig",
    "RaftError",
    "Randint",
    "RawNode",
    "ReadState",
    "Ready",
    "Role",
    "SingleChange",
    "Snapshot",
    "SnapshotMeta",
    "SnapshotUnavailableError",
    "SoftState",
    "Status",
    "Storage",
    "Transition",
    "bootstrap_snapshot",
]
