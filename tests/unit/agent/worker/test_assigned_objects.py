"""Assigned objects: complete sets and diffs lead the node to what is assigned, also after a failure at any point."""

from hypothesis import given
from hypothesis import strategies as st

from agent.worker.assigned_objects import AssignedObjects
from covey.objects import Network, Secret, Task
from covey.objects.assignment import Assigned, AssignmentChange, AssignmentKind

KINDS = {AssignmentKind.TASK: Task, AssignmentKind.SECRET: Secret, AssignmentKind.NETWORK: Network}
Key = tuple[AssignmentKind, str]

keys = st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from("abc"))
sets = st.dictionaries(keys, st.integers(1, 2), max_size=6)


def item(key: Key, version: int) -> Assigned:
    kind, name = key
    if kind is AssignmentKind.NETWORK:
        return Network(id=name, vni=version)
    return Task(id=name, slot=version) if kind is AssignmentKind.TASK else Secret(id=name)


def change(key: Key, version: int | None) -> AssignmentChange:
    return AssignmentChange(kind=key[0], id=key[1], item=None if version is None else item(key, version))


class Node:
    """What the rest of the worker has: it applies one change after another and may fail on the way."""

    def __init__(self) -> None:
        self.assigned = AssignedObjects()
        self.items: dict[Key, Assigned] = {}

    def apply(self, changes: list[AssignmentChange], *, complete: bool, fails_after: int | None = None) -> None:
        difference = self.assigned.difference(changes, complete=complete)
        self.assigned.begin(difference)
        for one in difference[:fails_after]:
            if one.item is None:
                self.items.pop((one.kind, one.id), None)
            else:
                self.items[one.kind, one.id] = one.item
        if fails_after is None:
            self.assigned.confirm(difference)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[dict[Key, int], bool, int | None]]:
    """Sets to reach one after another: by a complete set or by a diff, with success or a failure after so many changes."""
    steps = st.tuples(sets, st.booleans(), st.one_of(st.none(), st.integers(0, 4)))
    return draw(st.lists(steps, max_size=6))


@given(histories(), sets)
def test_a_complete_set_leads_to_itself_whatever_happened_before(
    history: list[tuple[dict[Key, int], bool, int | None]], last: dict[Key, int]
) -> None:
    node, known = Node(), {}
    for wanted, complete, fails_after in history:
        changes = [change(key, version) for key, version in wanted.items()]
        if not complete:
            changes += [change(key, None) for key in known if key not in wanted]
        node.apply(changes, complete=complete, fails_after=fails_after)
        known = wanted
    node.apply([change(key, version) for key, version in last.items()], complete=True)
    assert node.items == {key: item(key, version) for key, version in last.items()}
    assert node.assigned.difference([change(key, version) for key, version in last.items()], complete=True) == ()


@given(sets, sets)
def test_a_complete_set_changes_only_what_differs(before: dict[Key, int], after: dict[Key, int]) -> None:
    node = Node()
    node.apply([change(key, version) for key, version in before.items()], complete=True)
    difference = node.assigned.difference([change(key, version) for key, version in after.items()], complete=True)
    differing = {key for key in before | after if key not in before or key not in after}
    differing |= {key for key in before.keys() & after.keys() if item(key, before[key]) != item(key, after[key])}
    assert {(one.kind, one.id) for one in difference} == differing
