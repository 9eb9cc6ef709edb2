"""Conversion between Raft messages and their protobuf form.

Called by the transport. A message of an unknown kind is dropped, as if the network had lost it.
"""

from __future__ import annotations

from coveypb.v1 import raft_pb2
from manager.raft.core import ConfState, Entry, EntryKind, Message, MessageKind, Snapshot, SnapshotMeta
from manager.store.consensus import Member

ENTRY_KINDS = {int(kind): kind for kind in EntryKind}
MESSAGE_KINDS = {int(kind): kind for kind in MessageKind}


def message_to_wire(message: Message) -> raft_pb2.RaftMessage:
    """Converts a message without the snapshot's data, which is sent in chunks."""
    wire = raft_pb2.RaftMessage(
        kind=message.kind,
        to=message.to,
        term=message.term,
        log_term=message.log_term,
        index=message.index,
        entries=[
            raft_pb2.RaftEntry(term=entry.term, index=entry.index, kind=entry.kind, data=entry.data)
            for entry in message.entries
        ],
        commit=message.commit,
        reject=message.reject,
        reject_hint=message.reject_hint,
        hint_term=message.hint_term,
        context=message.context,
    )
    setattr(wire, "from", message.from_)  # a keyword in Python
    if message.snapshot:
        metadata = message.snapshot.metadata
        conf = metadata.conf_state
        wire.snapshot.index = metadata.index
        wire.snapshot.term = metadata.term
        wire.snapshot.conf_state.voters.extend(conf.voters)
        wire.snapshot.conf_state.learners.extend(conf.learners)
        wire.snapshot.conf_state.voters_outgoing.extend(conf.voters_outgoing)
        wire.snapshot.conf_state.learners_next.extend(conf.learners_next)
        wire.snapshot.conf_state.auto_leave = conf.auto_leave
    return wire


def message_from_wire(wire: raft_pb2.RaftMessage, snapshot_data: bytes = b"") -> Message | None:
    """Converts a message; None if its kind or the kind of an entry is unknown."""
    kind = MESSAGE_KINDS.get(wire.kind)
    if kind is None or any(entry.kind not in ENTRY_KINDS for entry in wire.entries):
        return None
    return Message(
        kind=kind,
        to=wire.to,
        from_=getattr(wire, "from"),
        term=wire.term,
        log_term=wire.log_term,
        index=wire.index,
        entries=tuple(
            [Entry(entry.term, entry.index, ENTRY_KINDS[entry.kind], entry.data) for entry in wire.entries],
        ),
        commit=wire.commit,
        reject=wire.reject,
        reject_hint=wire.reject_hint,
        hint_term=wire.hint_term,
        snapshot=_snapshot(wire.snapshot, snapshot_data) if wire.HasField("snapshot") else None,
        context=wire.context,
    )


def _snapshot(wire: raft_pb2.RaftSnapshotMeta, data: bytes) -> Snapshot:
    conf = ConfState(
        tuple(wire.conf_state.voters),
        tuple(wire.conf_state.learners),
        tuple(wire.conf_state.voters_outgoing),
        tuple(wire.conf_state.learners_next),
        wire.conf_state.auto_leave,
    )
    return Snapshot(SnapshotMeta(wire.index, wire.term, conf), data)


def member_to_wire(member: Member) -> raft_pb2.RaftMember:
    return raft_pb2.RaftMember(raft_id=member.raft_id, node_id=member.node_id, addr=member.addr)


def member_from_wire(wire: raft_pb2.RaftMember) -> Member:
    return Member(raft_id=wire.raft_id, node_id=wire.node_id, addr=wire.addr)


def message_bytes(message: Message) -> int:
    """Approximate size of a message on the wire."""
    return 64 + sum([len(entry.data) + 16 for entry in message.entries])
