"""Encoding of a store transaction as a log entry, and decoding.

Invariant: every replica applies the decoded entry, the proposer too, so no replica can hold what another cannot read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from covey import codec
from covey.objects import Author, Object
from coveypb.v1 import store_pb2
from manager.store.commit import Action, Change
from manager.store.schema import BY_FIELD, BY_KIND, Schema


class ProposedChange(msgspec.Struct, frozen=True):
    """A change in a log entry. ``expected_version`` is the version before the change, 0 for CREATE. ``item`` is None for REMOVE."""

    action: Action
    schema: Schema
    object_id: str
    expected_version: int
    item: Object | None


class Proposal(msgspec.Struct, frozen=True):
    """A transaction as decoded from a log entry."""

    request_id: int
    changes: tuple[ProposedChange, ...]
    timestamp_ns: int
    author: Author = Author()


def encode(request_id: int, changes: Sequence[Change], timestamp_ns: int, author: Author | None = None) -> bytes:
    commit = store_pb2.StoreCommit(request_id=request_id, timestamp_ns=timestamp_ns)
    if author is not None:
        codec.write(author, commit.author)
    for change in changes:
        wire: Any = commit.changes.add()
        wire.action = int(change.action)
        item = change.item
        field = getattr(wire, BY_KIND[type(item)].field)
        if change.after is not None:
            codec.write(item, field)
            if change.before is not None:
                field.meta.created_at_ns = change.before.meta.created_at_ns
        else:
            field.id = item.id
            field.meta.version = item.meta.version
    return commit.SerializeToString()


def decode(data: bytes) -> Proposal:
    """Raises google.protobuf.message.DecodeError or ValueError if this version cannot read the entry."""
    commit = store_pb2.StoreCommit.FromString(data)
    changes = tuple([_change(wire) for wire in commit.changes])
    return Proposal(commit.request_id, changes, commit.timestamp_ns, codec.from_wire(Author, commit.author))


def _change(wire: Any) -> ProposedChange:
    name = wire.WhichOneof("object")
    if name is None:
        raise ValueError(
            "a change in the log has an object of an unknown kind: a newer version of Covey wrote it. Upgrade this manager"
        )
    schema = BY_FIELD[name]
    field = getattr(wire, name)
    action = Action(wire.action)
    item = None if action is Action.REMOVE else codec.from_wire(schema.kind, field)
    expected = 0 if action is Action.CREATE else field.meta.version
    return ProposedChange(action, schema, field.id, expected, item)
