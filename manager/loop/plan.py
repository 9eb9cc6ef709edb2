"""Plans and their steps: the decision of a control loop as data.

Invariant: a step is applied completely or not at all, and only while all objects it depends on are unchanged since it was planned. Made
by planners and applied by ``manager.loop.control_loop`` through ``Store.batch``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from covey.errors import StaleVersionError
from covey.objects import Cluster, Config, Network, Node, Object, Secret, Service, Task
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
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Changes that belong together. ``needs`` are objects that must not have changed since, though the step leaves them alone."""

    creates: tuple[Object, ...] = ()
    updates: tuple[Object, ...] = ()
    removes: tuple[Object, ...] = ()
    preconditions: tuple[Object, ...] = ()

    def __call__(self, tx: Tx) -> None:
        """Raises StaleVersionError, NotFoundError or AlreadyExistsError when the step no longer stands."""
        for item in (*self.preconditions, *self.removes):
            _require_unchanged(tx, item)
        for item in self.updates:
            tx.update(item)
        for item in self.creates:
            tx.create(item)
        for item in self.removes:
            tx.remove(type(item), item.id)

    def items(self) -> Iterator[Object]:
        """Everything that the step touches or stands on."""
        yield from self.creates
        yield from self.updates
        yield from self.removes
        yield from self.preconditions


class Plan(msgspec.Struct, frozen=True):
    """``wake_at_ns``: when to plan again though nothing was committed; 0 for never."""

    steps: tuple[Step, ...] = ()
    wake_at_ns: int = 0

    def apply(self, tx: Tx) -> None:
        """All steps in one transaction; raises when any no longer stands."""
        for step in self.steps:
            step(tx)


EMPTY = Plan()


def combine(plans: Iterable[Plan]) -> Plan:
    """The steps of all in order, and the earliest of their deadlines."""
    steps: list[Step] = []
    wake = 0
    for plan in plans:
        steps += plan.steps
        wake = earliest(wake, plan.wake_at_ns)
    return Plan(tuple(steps), wake)


def earliest(one_ns: int, other_ns: int) -> int:
    """The earlier of two deadlines, where 0 is never."""
    if not one_ns or not other_ns:
        return one_ns or other_ns
    return min(one_ns, other_ns)


def current_object(view: View, item: Object) -> Object | None:
    """The object as the view has it."""
    table: Table[Object] = getattr(view, _TABLES[type(item)])
    return table.get(item.id)


def _require_unchanged(tx: Tx, item: Object) -> None:
    now = current_object(tx, item)
    if now is None or now.meta.version != item.meta.version:
        raise StaleVersionError(f"{type(item).__name__.lower()} {item.id} changed since the plan was made")
