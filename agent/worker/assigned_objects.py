"""Assigned objects: everything that the managers assigned to this node; turns a complete set into an assignment diff.

Invariant: complete sets are resolved here and nowhere else, so the rest of the worker sees only changes. An object whose change was begun
but not confirmed is treated as unknown: the next complete set changes or removes it again. Pure; called by ``agent.worker.worker``.
"""

from collections.abc import Iterable, Sequence

from covey.objects.assignment import Assigned, AssignmentChange, AssignmentKind

AssignmentKey = tuple[AssignmentKind, str]


class AssignedObjects:
    """The assigned objects by kind and id; None for an object whose last change was not confirmed."""

    def __init__(self, changes: Iterable[AssignmentChange] = ()) -> None:
        self._items: dict[AssignmentKey, Assigned | None] = {}
        self.confirm(changes)

    def difference(self, changes: Sequence[AssignmentChange], *, complete: bool) -> tuple[AssignmentChange, ...]:
        """The changes that lead to this assignment. A complete set also removes what it does not name."""
        if not complete:
            return tuple(changes)
        assigned = {(change.kind, change.id): change for change in changes if change.item is not None}
        updates = [change for key, change in assigned.items() if self._items.get(key) != change.item]
        removals = [AssignmentChange(kind=kind, id=key) for kind, key in self._items if (kind, key) not in assigned]
        return (*updates, *removals)

    def begin(self, changes: Iterable[AssignmentChange]) -> None:
        """Records that these changes are being applied: until ``confirm`` their objects are unknown."""
        for change in changes:
            self._items[change.kind, change.id] = None

    def confirm(self, changes: Iterable[AssignmentChange]) -> None:
        """Records that these changes have been applied."""
        for change in changes:
            if change.item is None:
                self._items.pop((change.kind, change.id), None)
            else:
                self._items[change.kind, change.id] = change.item
