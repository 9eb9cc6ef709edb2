"""Network part: the items of one network, which all its nodes are sent, with a log of the changes.

Invariant: the changes since a version lead from the items of that version to the present ones; each is encoded once for all nodes. The log
is bounded: a reader that is too far behind takes all items. Owned by the assignment cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from covey.objects.assignment import Assigned, AssignmentChange
from manager.dispatcher.assignment_wire import EncodedChange, encode_change
from manager.dispatcher.assignments import AssignmentKey, AssignmentSet

MAX_LOG = 20_000


class NetworkPart:
    """``version`` counts the batches of changes. Between ``put`` and ``end_batch`` nobody may read."""

    def __init__(self, items: AssignmentSet, max_log: int = MAX_LOG) -> None:
        self.version = 0
        self.nodes: set[str] = set()
        """The nodes with a session that are told this network."""
        self._items = dict(items)
        self._log: deque[tuple[int, AssignmentKey, bool]] = deque()
        """Version, key, and whether there was an item of that key before."""
        self._max_log = max_log
        self._oldest = 0
        self._encoded: dict[AssignmentKey, EncodedChange] = {}
        self._changed = False
        self._recent: tuple[int, list[EncodedChange]] | None = None

    @property
    def items(self) -> AssignmentSet:
        """The present items."""
        return self._items

    def put(self, key: AssignmentKey, item: Assigned | None) -> None:
        """Sets one item; None removes it."""
        before = self._items.get(key)
        if before == item:
            return
        self._log.append((self.version + 1, key, before is not None))
        self._encoded.pop(key, None)
        self._changed = True
        if item is None:
            del self._items[key]
        else:
            self._items[key] = item

    def replace_all(self, items: Mapping[AssignmentKey, Assigned]) -> None:
        """Sets all items."""
        for key in [key for key in self._items if key not in items]:
            self.put(key, None)
        for key, item in items.items():
            self.put(key, item)

    def end_batch(self) -> bool:
        """Makes the changes since the last call a version. Returns whether there were any."""
        if not self._changed:
            return False
        self._changed = False
        self._recent = None
        self.version += 1
        while len(self._log) > self._max_log:
            self._oldest = self._log.popleft()[0]
        return True

    def knows(self, version: int) -> bool:
        """Whether the log still leads on from a version."""
        return version >= self._oldest

    def changes_since(self, version: int) -> list[EncodedChange]:
        """The changes from a known version to the present one, in no order. The list is shared: it may not be changed."""
        if self._recent is None or self._recent[0] != version:
            existed = self._touched_since(version)
            present = [key for key, was in existed.items() if was or key in self._items]
            self._recent = version, [self._encode(key) for key in present]
        return self._recent[1]

    def all_changes(self) -> list[EncodedChange]:
        """All items, as changes from nothing."""
        return [self._encode(key) for key in self._items]

    def keys_at(self, version: int) -> Iterable[AssignmentKey]:
        """The keys of the items at a known version."""
        existed = self._touched_since(version)
        yield from (key for key in self._items if key not in existed)
        yield from (key for key, was in existed.items() if was)

    def _touched_since(self, version: int) -> dict[AssignmentKey, bool]:
        """The keys of later changes, and whether they had an item at the version."""
        found: dict[AssignmentKey, bool] = {}
        for at, key, was in reversed(self._log):
            if at <= version:
                break
            found[key] = was
        return found

    def _encode(self, key: AssignmentKey) -> EncodedChange:
        encoded = self._encoded.get(key)
        if encoded is None:
            kind, item_id = key
            encoded = encode_change(AssignmentChange(kind=kind, id=item_id, item=self._items.get(key)))
            if encoded.change.item is not None:
                self._encoded[key] = encoded
        return encoded
