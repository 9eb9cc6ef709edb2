"""The whole store as bytes, and back.

Law: objects are written in the order of their ids, so that equal states are equal bytes.
"""

from __future__ import annotations

import time
from typing import Any

from covey import codec
from coveypb.v1 import store_pb2
from manager.store.applying import share_spec
from manager.store.consensus import Member
from manager.store.schema import SCHEMAS
from manager.store.view import View

_STRETCH = 64


def encode(view: View, members: tuple[Member, ...]) -> bytes:
    """Runs for as long as the store is large, so in a thread: it lets others run between stretches of objects."""
    parts = [_members(members)]
    for schema in SCHEMAS:
        objects: Any = view.state(schema).objects
        ids = sorted(objects)
        for start in range(0, len(ids), _STRETCH):
            # Protobuf's parts, laid end to end, are the whole.
            part = store_pb2.StoreSnapshot()
            field: Any = getattr(part, f"{schema.field}s")
            for object_id in ids[start : start + _STRETCH]:
                codec.write(objects[object_id], field.add())
            parts.append(part.SerializeToString())
            time.sleep(0)
    return b"".join(parts)


def _members(members: tuple[Member, ...]) -> bytes:
    snapshot = store_pb2.StoreSnapshot()
    for member in members:
        snapshot.members.add(raft_id=member.raft_id, node_id=member.node_id, addr=member.addr)
    return snapshot.SerializeToString()


def decode(index: int, data: bytes) -> tuple[View, tuple[Member, ...]]:
    """Raises google.protobuf.message.DecodeError or ValueError when the bytes are no snapshot that this version knows."""
    snapshot = store_pb2.StoreSnapshot.FromString(data)
    view = View.empty()
    for schema in SCHEMAS:
        for wire in getattr(snapshot, f"{schema.field}s"):
            item = share_spec(view, codec.from_wire(schema.kind, wire))
            view = view.put(schema, item.id, item)
    members = [Member(raft_id=m.raft_id, node_id=m.node_id, addr=m.addr) for m in snapshot.members]
    return view.at(index), tuple(members)
