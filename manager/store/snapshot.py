"""Encoding of the whole store as a snapshot, and decoding.

Invariant: objects are written in the order of their ids, so equal states are equal bytes. A spec that a service and its tasks share is
written once: specs are most of a large store.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from covey import codec
from covey.objects import Service, Task, TaskSpec, replace
from coveypb.v1 import store_pb2
from manager.store.consensus import Member
from manager.store.schema import SCHEMAS, SERVICES, TASKS
from manager.store.table import TableState
from manager.store.view import View

T = TypeVar("T")

_BATCH = 64
_NO_SPEC = TaskSpec()


def encode(view: View, members: tuple[Member, ...]) -> bytes:
    """Encodes a view. Takes long for a large store, so it runs in a thread and yields to other threads between batches of objects."""
    parts = [_members(members)]
    services: Any = view.state(SERVICES).objects
    for schema in SCHEMAS:
        objects: Any = view.state(schema).objects
        ids = sorted(objects)
        for start in range(0, len(ids), _BATCH):
            # Encoded protobuf messages can be concatenated: the result decodes as one message.
            part = store_pb2.StoreSnapshot()
            field: Any = getattr(part, f"{schema.field}s")
            for object_id in ids[start : start + _BATCH]:
                item = objects[object_id]
                if schema is TASKS:
                    item, spec_of = _without_shared_spec(services.get(item.service_id), item)
                    part.task_specs.append(spec_of)
                codec.write(item, field.add())
            parts.append(part.SerializeToString())
            time.sleep(0)
    return b"".join(parts)


def _members(members: tuple[Member, ...]) -> bytes:
    snapshot = store_pb2.StoreSnapshot()
    for member in members:
        snapshot.members.add(raft_id=member.raft_id, node_id=member.node_id, addr=member.addr)
    return snapshot.SerializeToString()


def decode(index: int, data: bytes) -> tuple[View, tuple[Member, ...]]:
    """Decodes a snapshot, in a thread. Raises google.protobuf.message.DecodeError or ValueError if this version cannot read it."""
    snapshot = store_pb2.StoreSnapshot.FromString(data)
    services = {wire.id: codec.from_wire(Service, wire) for wire in snapshot.services}
    tables = []
    for schema in SCHEMAS:
        if schema is SERVICES:
            items: list[Any] = list(services.values())
        elif schema is TASKS:
            pairs = _yielding(zip(snapshot.tasks, snapshot.task_specs, strict=True))
            items = [_with_spec(services, codec.from_wire(Task, wire), spec_of) for wire, spec_of in pairs]
        else:
            items = [codec.from_wire(schema.kind, wire) for wire in _yielding(getattr(snapshot, f"{schema.field}s"))]
        tables.append(TableState.of(schema, items))
    view = View(tables)
    members = [Member(raft_id=m.raft_id, node_id=m.node_id, addr=m.addr) for m in snapshot.members]
    return view.at(index), tuple(members)


def _yielding(items: Iterable[T]) -> Iterator[T]:
    """Yields the items, and yields to other threads between batches."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % _BATCH == 0:
            time.sleep(0)


def _without_shared_spec(service: Service | None, task: Task) -> tuple[Task, store_pb2.TaskSpecSource.ValueType]:
    if service is not None and task.spec == service.spec.task:
        return replace(task, spec=_NO_SPEC), store_pb2.TASK_SPEC_SOURCE_SERVICE_SPEC
    if service is not None and service.previous_spec is not None and task.spec == service.previous_spec.task:
        return replace(task, spec=_NO_SPEC), store_pb2.TASK_SPEC_SOURCE_PREVIOUS_SERVICE_SPEC
    return task, store_pb2.TASK_SPEC_SOURCE_TASK


def _with_spec(services: Mapping[str, Service], task: Task, spec_of: int) -> Task:
    """Raises ValueError if the snapshot refers to a spec of the service that does not exist."""
    if spec_of == store_pb2.TASK_SPEC_SOURCE_TASK:
        return task
    service = services.get(task.service_id)
    if service is not None and spec_of == store_pb2.TASK_SPEC_SOURCE_SERVICE_SPEC:
        return replace(task, spec=service.spec.task)
    if (
        service is not None
        and spec_of == store_pb2.TASK_SPEC_SOURCE_PREVIOUS_SERVICE_SPEC
        and service.previous_spec is not None
    ):
        return replace(task, spec=service.previous_spec.task)
    raise ValueError(f"task {task.id} in the snapshot refers to a spec that its service does not have")
