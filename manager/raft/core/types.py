"""Raft data types: entries, messages, hard state, snapshots, configuration changes.

Invariant: all types are frozen, cannot form reference cycles, and are shared without copying. `Entry`, `HardState`,
`ConfState` and `ConfChange` are also written to disk, so new fields go at the end and have a default.
"""

from __future__ import annotations

import enum

import msgspec

NO_PEER = 0
"""An id that no peer has; means "no leader" or "no vote"."""

ENTRY_OVERHEAD_BYTES = 16
"""Estimated overhead of an entry on the wire and on disk, in addition to its data."""


class EntryKind(enum.IntEnum):
    NORMAL = 0
    CONF_CHANGE = 1


class MessageKind(enum.IntEnum):
    """Message types between peers. The numbers are used on the wire: append new ones, never reuse one."""

    APPEND = 1
    APPEND_REPLY = 2
    VOTE = 3
    VOTE_REPLY = 4
    PRE_VOTE = 5
    PRE_VOTE_REPLY = 6
    HEARTBEAT = 7
    HEARTBEAT_REPLY = 8
    SNAPSHOT = 9
    TRANSFER_LEADER = 10
    TIMEOUT_NOW = 11
    READ_INDEX = 12
    READ_INDEX_REPLY = 13


class Role(enum.IntEnum):
    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entry of the replicated log. An empty NORMAL entry is a leader's no-op; there is nothing to apply."""

    term: int
    index: int
    kind: EntryKind = EntryKind.NORMAL
    data: bytes = b""


class HardState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """State that must survive a crash. `vote` is NO_PEER if the node has not voted in `term`."""

    term: int = 0
    vote: int = NO_PEER
    commit: int = 0


class ConfState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The configuration as of a log index, each tuple sorted. `voters_outgoing` is not empty during joint consensus."""

    voters: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    voters_outgoing: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False


class ChangeKind(enum.IntEnum):
    ADD_VOTER = 0
    ADD_LEARNER = 1
    REMOVE = 2


class Transition(enum.IntEnum):
    """How a change is carried out. AUTO: in one step if at most one voter changes; else joint, and left automatically."""

    AUTO = 0
    JOINT_IMPLICIT = 1
    JOINT_EXPLICIT = 2


class SingleChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    kind: ChangeKind
    node: int


class ConfChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A configuration change. No changes at all means: leave joint consensus. The core does not interpret `context`."""

    changes: tuple[SingleChange, ...] = ()
    context: bytes = b""
    transition: Transition = Transition.AUTO

    @classmethod
    def of(cls, kind: ChangeKind, node: int, context: bytes = b"") -> ConfChange:
        """The change of a single node."""
        return cls((SingleChange(kind, node),), context)

    def encode(self) -> bytes:
        """The bytes of a CONF_CHANGE entry."""
        return _encoder.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> ConfChange:
        """The change in a CONF_CHANGE entry. Raises msgspec.DecodeError if the bytes are invalid."""
        return _conf_change_decoder.decode(data)


class SnapshotMeta(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The last entry that a snapshot covers, and the configuration as of that entry."""

    index: int = 0
    term: int = 0
    conf_state: ConfState = ConfState()


class Snapshot(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The complete state of the state machine. The core does not interpret `data`."""

    metadata: SnapshotMeta = SnapshotMeta()
    data: bytes = b""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message between peers; `kind` determines the meaning of the fields.

    APPEND: (index, log_term) is the entry before `entries`, `commit` the leader's commit index. APPEND_REPLY: `index` is the
    last entry held; with `reject` it is the rejected one, and (reject_hint, hint_term) say where the logs may agree. VOTE,
    PRE_VOTE: (index, log_term) is the candidate's last entry; these and their replies carry the sender's committed entry as
    (commit, hint_term). HEARTBEAT and its reply echo `context`. READ_INDEX and its reply carry the reader's `context`.
    TRANSFER_LEADER names the target in `index`. `entries` is never modified.
    """

    kind: MessageKind
    to: int
    from_: int = NO_PEER
    term: int = 0
    log_term: int = 0
    index: int = 0
    entries: tuple[Entry, ...] = ()
    commit: int = 0
    reject: bool = False
    reject_hint: int = 0
    hint_term: int = 0
    snapshot: Snapshot | None = None
    context: bytes = b""


class SoftState(msgspec.Struct, frozen=True, gc=False):
    """State that need not survive a crash: the leader (NO_PEER if unknown) and this node's role."""

    leader: int = NO_PEER
    role: Role = Role.FOLLOWER


class ReadState(msgspec.Struct, frozen=True, gc=False):
    """A read requested with `context` is linearizable when the state machine has applied `index`."""

    index: int
    context: bytes


_encoder = msgspec.msgpack.Encoder()
_conf_change_decoder = msgspec.msgpack.Decoder(ConfChange)


def entry_bytes(entry: Entry) -> int:
    """The size of an entry as counted against the limits on messages and queues."""
    return len(entry.data) + ENTRY_OVERHEAD_BYTES
