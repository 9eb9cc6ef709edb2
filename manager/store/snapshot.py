"""The whole store as bytes, and back.

Law: objects are written in the order of their ids, so that equal states are equal bytes.
"""

from __future__ import annotations

from typing import Any

from covey import codec
from coveypb.v1 import store_pb2
from manager.store.applying import share_spec
from manager.store.consensus import Member
from manager.store.schema import SCHEMAS
from manager.store.view import View


def encode(view: View, members: tuple[Member, ...]) -> bytes:
    """Runs for as long as the store is large; a view may be read from any thread."""
    snapshot = store_pb2.StoreSnapshot()
    for schema in SCHEMAS:
        field: Any = getattr(snapshot, f"{schema.field}s")
        objects: Any = view.state(schema).objects
        for object_id in sorted(objects):
            codec.write(objects[object_id], field.add())
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
