"""Assignment assembler: joins the parts of an assignment set or difference and checks its version.

Invariant: a difference applies to exactly one version. Pure; called by the stream for each Assignments message.
"""

from typing import Any

from covey import codec
from covey.errors import ConflictError
from covey.objects import Config, Network, Secret, Task
from covey.objects.assignment import AssignmentChange, AssignmentKind, NetworkEndpoint, NodeEndpoint, VirtualService
from covey.objects.base import Struct
from coveypb.v1 import dispatcher_pb2

_ITEMS: dict[str, type[Any]] = {
    "task": Task,
    "secret": Secret,
    "config": Config,
    "network": Network,
    "endpoint": NetworkEndpoint,
    "virtual_service": VirtualService,
    "node_endpoint": NodeEndpoint,
}
MAX_CHANGES = 1_000_000


class AssignmentUpdate(Struct, frozen=True, kw_only=True):
    """A complete set, or a difference, with the changes of all its parts."""

    complete: bool
    changes: tuple[AssignmentChange, ...]


class AssignmentAssembler:
    """The assignment messages of one stream."""

    def __init__(self) -> None:
        self._version: str | None = None
        self._parts: list[AssignmentChange] = []

    def add_message(self, message: dispatcher_pb2.Assignments) -> AssignmentUpdate | None:
        """Adds a message. Returns the update once its last part has arrived.

        Raises:
            ConflictError: the difference applies to another version than this agent has, or there are too many changes.
        """
        if not message.complete and message.applies_to != self._version:
            raise ConflictError(
                f"the difference applies to version {message.applies_to}, this agent has {self._version}"
            )
        self._parts.extend(change_from_wire(change) for change in message.changes)
        if len(self._parts) > MAX_CHANGES:
            raise ConflictError(f"the manager sent more than {MAX_CHANGES} assignments for this node")
        if message.more:
            return None
        update = AssignmentUpdate(complete=message.complete, changes=tuple(self._parts))
        self._parts = []
        self._version = message.results_in
        return update


def change_from_wire(message: dispatcher_pb2.AssignmentChange) -> AssignmentChange:
    """The change that a protobuf message carries."""
    field = message.WhichOneof("item")
    item = codec.from_wire(_ITEMS[field], getattr(message, field)) if field else None
    return AssignmentChange(kind=AssignmentKind(message.kind), id=message.id, item=item)
