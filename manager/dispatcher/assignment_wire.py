"""Assignment changes as protobuf messages, in parts of bounded count and size. Pure; called by network parts and node sessions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from covey import codec
from covey.objects.assignment import AssignmentChange, AssignmentKind
from coveypb.v1 import dispatcher_pb2

MAX_CHANGES_PER_MESSAGE = 200
MAX_MESSAGE_BYTES = 1 << 20

_FIELDS = {
    AssignmentKind.TASK: "task",
    AssignmentKind.SECRET: "secret",
    AssignmentKind.CONFIG: "config",
    AssignmentKind.NETWORK: "network",
    AssignmentKind.ENDPOINT: "endpoint",
    AssignmentKind.VIRTUAL_SERVICE: "virtual_service",
    AssignmentKind.NODE_ENDPOINT: "node_endpoint",
}


class EncodedChange(NamedTuple):
    """A change with its message, which many sessions may share, and the message's size."""

    change: AssignmentChange
    wire: dispatcher_pb2.AssignmentChange
    size: int


def encode_change(change: AssignmentChange) -> EncodedChange:
    """A change with its protobuf message."""
    message = dispatcher_pb2.AssignmentChange(id=change.id)
    message.kind = int(change.kind)  # type: ignore[assignment]
    if change.item is not None:
        codec.write(change.item, getattr(message, _FIELDS[change.kind]))
    return EncodedChange(change, message, message.ByteSize())


def split_into_messages(changes: Iterable[EncodedChange]) -> list[dispatcher_pb2.Assignments]:
    """Messages for the changes, each bounded in count and bytes; one empty message if there are none."""
    parts: list[list[dispatcher_pb2.AssignmentChange]] = [[]]
    size = 0
    for encoded in changes:
        if parts[-1] and (len(parts[-1]) >= MAX_CHANGES_PER_MESSAGE or size + encoded.size > MAX_MESSAGE_BYTES):
            parts.append([])
            size = 0
        parts[-1].append(encoded.wire)
        size += encoded.size
    return [dispatcher_pb2.Assignments(changes=part) for part in parts]
