"""Who changed the cluster's objects, and what happened to them, as managers remember it for events and histories."""

from covey.objects.base import Struct


class Author(Struct, frozen=True, kw_only=True):
    """Who made a change. ``user`` is a user of the API on the node, ``component`` a part of the managers, such as a control loop."""

    user: str = ""
    node_id: str = ""
    component: str = ""


class HistoryEntry(Struct, frozen=True, kw_only=True):
    """What happened to an object. ``version`` and ``number`` order all entries, the same on every manager.

    ``by`` names who did it, ``text`` says what happened and why; it is empty for changes that nobody asks about. ``attributes`` are those
    of Docker's event. ``service_id`` is set in entries that concern a service, ``node_id`` in those of a task on a node.
    """

    version: int = 0
    number: int = 0
    timestamp_ns: int = 0
    kind: str = ""
    action: str = ""
    object_id: str = ""
    name: str = ""
    service_id: str = ""
    service_name: str = ""
    node_id: str = ""
    node_name: str = ""
    by: str = ""
    text: str = ""
    attributes: dict[str, str] = {}

    @property
    def position(self) -> tuple[int, int]:
        """The place in the history."""
        return self.version, self.number
