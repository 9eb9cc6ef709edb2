"""Raft data types: entries, messages, hard state, snapshots, configuration changes.

Invariant: all types are frozen, cannot form reference cycles, and are shared without copying. `Entry`, `HardState`,
`ConfState` and `ConfChange` are also written to disk, so new fields go at the end and have a default.
"""

from __future__ import annotations

import enum

import msgspec

NO_PEER = 0
"""No peer has this id: "no leader", "no vote"."""

ENTRY_OVERHEAD_BYTES = 16
"""What an entry costs on the wire and on disk beside its data; sizes here are estimates that never undercount much."""


class EntryKind(enum.IntEnum):
    NORMAL = 0
    CONF_CHANGE = 1


class MessageKind(enum.IntEnum):
    """What a peer says to another. Numbers are the wire's: add at the end, never reuse."""

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
    """One slot of the replicated log. An empty NORMAL entry is the leader's own no-op and carries nothing to apply."""

    term: int
    index: int
    kind: EntryKind = EntryKind.NORMAL
    data: bytes = b""


class HardState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a node must remember across a crash. `vote` is NO_PEER until it voted in `term`."""

    term: int = 0
    vote: int = NO_PEER
    commit: int = 0


class ConfState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Membership as of a log index, each tuple sorted. `voters_outgoing` is not empty while in joint consensus."""

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
    """How a change goes through. AUTO: in one step where at most one voter changes, else joint, left by itself."""

    AUTO = 0
    JOINT_IMPLICIT = 1
    JOINT_EXPLICIT = 2


class SingleChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    kind: ChangeKind
    node: int


class ConfChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A change of membership. No changes at all means: leave joint consensus. `context` is the driver's, opaque here."""

    changes: tuple[SingleChange, ...] = ()
    context: bytes = b""
    transition: Transition = Transition.AUTO

    @classmethod
    def of(cls, kind: ChangeKind, node: int, context: bytes = b"") -> ConfChange:
        """The change of one node."""
        return cls((SingleChange(kind, node),), context)

    def encode(self) -> bytes:
        """The bytes that go into a CONF_CHANGE entry."""
        return _encoder.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> ConfChange:
        """The change held by a CONF_CHANGE entry; raises msgspec.DecodeError when the bytes are none."""
        return _conf_change_decoder.decode(data)


class SnapshotMeta(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The last entry that a snapshot replaces, and the membership as of that entry."""

    index: int = 0
    term: int = 0
    conf_state: ConfState = ConfState()


class Snapshot(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The state machine's whole state. `data` is the driver's, opaque here."""

    metadata: SnapshotMeta = SnapshotMeta()
    data: bytes = b""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message between peers; which fields count depends on `kind`.

    APPEND: (index, log_term) precede `entries`, `commit` is the leader's. APPEND_REPLY: `index` is the last entry held,
    or with `reject` the one refused, then (reject_hint, hint_term) say where the logs may agree. VOTE, PRE_VOTE: (index,
    log_term) are the candidate's last; these and their replies tell the sender's committed entry as (commit, hint_term).
    HEARTBEAT and its reply echo `context`. READ_INDEX and its reply carry the reader's `context`. TRANSFER_LEADER names
    the heir in `index`. `entries` is never changed after it was made.
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
    """What may be forgotten: who leads (NO_PEER: unknown) and what this node is."""

    leader: int = NO_PEER
    role: Role = Role.FOLLOWER


class ReadState(msgspec.Struct, frozen=True, gc=False):
    """A read asked with `context` is linearizable once the state machine has applied `index`."""

    index: int
    context: bytes


_encoder = msgspec.msgpack.Encoder()
_conf_change_decoder = msgspec.msgpack.Decoder(ConfChange)


def entry_bytes(entry: Entry) -> int:
    """What an entry counts against the bounds on message and queue sizes."""
    return len(entry.data) + ENTRY_OVERHEAD_BYTES
