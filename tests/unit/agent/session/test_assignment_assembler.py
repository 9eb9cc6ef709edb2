"""Assignments in parts and differences, as the agent puts them together."""

import pytest

from agent.session.assignment_assembler import AssignmentAssembler
from covey.errors import ConflictError
from covey.objects import Task
from covey.objects.assignment import AssignmentChange, AssignmentKind
from coveypb.v1 import dispatcher_pb2


def part(
    *names: str, complete: bool = False, applies_to: str = "", results_in: str = "v1", more: bool = False
) -> dispatcher_pb2.Assignments:
    message = dispatcher_pb2.Assignments(complete=complete, applies_to=applies_to, results_in=results_in, more=more)
    for name in names:
        message.changes.add(id=name).task.id = name
    return message


def test_a_set_counts_when_its_last_part_has_come() -> None:
    assembler = AssignmentAssembler()
    assert assembler.add_message(part("a", complete=True, more=True)) is None
    update = assembler.add_message(part("b", complete=True))
    assert update is not None
    assert update.complete
    assert [change.item for change in update.changes] == [Task(id="a"), Task(id="b")]


def test_a_difference_applies_to_the_version_before_it_alone() -> None:
    assembler = AssignmentAssembler()
    with pytest.raises(ConflictError):
        assembler.add_message(part("a", applies_to="v0"))
    assembler.add_message(part("a", complete=True, results_in="v1"))
    update = assembler.add_message(part("b", applies_to="v1", results_in="v2"))
    assert update is not None
    assert not update.complete
    with pytest.raises(ConflictError, match="the difference applies to version v1, this agent has v2"):
        assembler.add_message(part("c", applies_to="v1"))


def test_a_change_without_an_item_removes() -> None:
    message = dispatcher_pb2.Assignments(complete=True, results_in="v1")
    message.changes.add(kind=AssignmentKind.SECRET, id="s")
    update = AssignmentAssembler().add_message(message)
    assert update is not None
    assert update.changes == (AssignmentChange(kind=AssignmentKind.SECRET, id="s"),)
