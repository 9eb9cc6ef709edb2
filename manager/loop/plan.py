"""Plans and their steps: the decision of a control loop as data.

Invariant: a step is applied completely or not at all, and only while all objects it depends on are unchanged since it was planned. Made
by planners and applied by ``manager.loop.control_loop`` through ``Store.batch``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from covey.errors import StaleVersionError
from covey.objects import Cluster, Config, Network, Node, Object, Secret, Service, Task, WatchedStack
from manager.store.table import Table
from manager.store.view import Tx, View

_TABLES: dict[type[Object], str] = {
    Node: "nodes",
    Service: "services",
    Task: "tasks",
    Network: "networks",
    Secret: "secrets",
    Config: "configs",
    Cluster: "clusters",
    WatchedStack: "watched_stacks",
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Changes that are applied together. ``preconditions`` are objects that the step does not change but requires unchanged."""

    creates: tuple[Object, ...] = ()
    updates: tuple[Object, ...] = ()
    removes: tuple[Object, ...] = ()
    preconditions: tuple[Object, ...] = ()

    def __call__(self, tx: Tx) -> None:
        """Applies the step. Raises StaleVersionError, NotFoundError or AlreadyExistsError if it is out of date."""
        for item in (*self.preconditions, *self.removes):
            _require_unchanged(tx, item)
        for item in self.updates:
            tx.update(item)
        for item in self.creates:
            tx.create(item)
        for item in self.removes:
            tx.remove(type(item), item.id)

    def items(self) -> Iterator[Object]:
        """All objects that the step changes or requires unchanged."""
        yield from self.creates
        yield from self.updates
        yield from self.removes
        yield from self.preconditions


class Plan(msgspec.Struct, frozen=True):
    """The decision of one pass. ``wake_at_ns``: when to plan again even if nothing was committed; 0 for never."""

    steps: tuple[Step, ...] = ()
    wake_at_ns: int = 0

    def apply(self, tx: Tx) -> None:
        """Applies all steps in one transaction; raises if one of them is out of date."""
        for step in self.steps:
            step(tx)


EMPTY = Plan()


def combine(plans: Iterable[Plan]) -> Plan:
    """The steps of all plans in order, and the earliest of their deadlines."""
    steps: list[Step] = []
    wake_at_ns = 0
    for plan in plans:
        steps += plan.steps
        wake_at_ns = earliest(wake_at_ns, plan.wake_at_ns)
    return Plan(tuple(steps), wake_at_ns)


def earliest(one_ns: int, other_ns: int) -> int:
    """The earlier of two deadlines, where 0 means never."""
    if not one_ns or not other_ns:
        return one_ns or other_ns
    return min(one_ns, other_ns)


def current_object(view: View, item: Object) -> Object | None:
    """The current version of the object in the view."""
    table: Table[Object] = getattr(view, _TABLES[type(item)])
    return table.get(item.id)


def _require_unchanged(tx: Tx, item: Object) -> None:
    current = current_object(tx, item)
    if current is None or current.meta.version != item.meta.version:
        raise StaleVersionError(f"{type(item).__name__.lower()} {item.id} changed since the plan was made")
