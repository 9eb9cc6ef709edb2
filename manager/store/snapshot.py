"""The whole store as bytes, and back.

Law: objects are written in the order of their ids, so that equal states are equal bytes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from covey import codec
from covey.objects import Service, Task
from coveypb.v1 import objects_pb2, store_pb2
from manager.store.applying import share_spec
from manager.store.consensus import Member
from manager.store.schema import SCHEMAS, SERVICES, TASKS
from manager.store.table import TableState
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
    services = {wire.id: codec.from_wire(Service, wire) for wire in snapshot.services}
    tables = []
    for schema in SCHEMAS:
        if schema is SERVICES:
            items: list[Any] = list(services.values())
        elif schema is TASKS:
            items = [_task(services, wire) for wire in snapshot.tasks]
        else:
            items = [codec.from_wire(schema.kind, wire) for wire in getattr(snapshot, f"{schema.field}s")]
        tables.append(TableState.of(schema, items))
    view = View(tables)
    members = [Member(raft_id=m.raft_id, node_id=m.node_id, addr=m.addr) for m in snapshot.members]
    return view.at(index), tuple(members)


def _task(services: Mapping[str, Service], wire: objects_pb2.Task) -> Task:
    task = codec.from_wire(Task, wire)
    return share_spec(services.get(task.service_id), task)
