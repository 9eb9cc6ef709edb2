"""When a wait for a service ends: nothing can change any more, or the service is where it should be."""

from __future__ import annotations

from typing import Any

import pytest

from cli.service.convergence import service_progress
from cli.service.failure_cause import failed_task
from cli.service.outlook import EMPTY_SECONDS, Ending, Outlook
from cli.service.rejections import RejectionCounter


def service(mode: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"Spec": {"Name": "web", "Mode": mode or {"Replicated": {"Replicas": 2}}, "TaskTemplate": {}}, **more}


def task(slot: int, state: str, desired: str = "running", *, at: str = "1", error: str = "", node: str = "") -> Any:
    status = {"State": state, "Err": error, "Timestamp": at}
    return {
        "ID": f"{slot}-{at}",
        "Slot": slot,
        "NodeID": node,
        "DesiredState": desired,
        "CreatedAt": at,
        "Status": status,
    }


def rejected(identifier: str, slot: int, error: str) -> dict[str, Any]:
    return {**task(slot, "rejected", "shutdown", error=error), "ID": identifier}


def test_equal_rejections_of_one_slot_are_counted_once_each_across_polls() -> None:
    """A service whose image no node can get: its slot's tasks are rejected with the same words again and again."""
    counter = RejectionCounter()
    first, second, third = (rejected(name, 1, "No such image: x") for name in "abc")
    assert not counter.reason([first], restarts=True)
    assert not counter.reason([first, second], restarts=True)
    assert not counter.reason([second, rejected("d", 2, "No such image: x"), rejected("e", 1, "other")], restarts=True)
    assert counter.reason([third], restarts=True) == "No such image: x"


def test_a_slot_that_runs_again_has_not_failed() -> None:
    counter = RejectionCounter()
    tasks = [rejected(name, 1, "busy") for name in "abc"]
    assert not counter.reason([*tasks, {**task(1, "running"), "ID": "r"}], restarts=True)
    assert counter.reason(tasks, restarts=True) == "busy"


def test_one_rejection_is_final_if_tasks_are_not_restarted() -> None:
    assert RejectionCounter().reason([rejected("a", 1, "no")], restarts=False) == "no"


def test_what_every_node_lacks_ends_the_wait_at_once() -> None:
    counter = RejectionCounter()
    tasks = [task(1, "rejected", at="1", error="No such image: x", node="a")]
    assert not counter.reason(tasks, restarts=True, nodes={"a", "b"})
    tasks.append(task(2, "rejected", at="1", error="No such image: x", node="b"))
    assert counter.reason(tasks, restarts=True, nodes={"a", "b"}) == "No such image: x (on every node)"


def test_what_may_pass_by_itself_is_waited_for() -> None:
    counter = RejectionCounter()
    assert not counter.reason(
        [task(1, "rejected", error="VXLAN id 4096 is in use", node="a")], restarts=True, nodes={"a"}
    )


def ending(outlook: Outlook, item: Any, tasks: list[Any], now: float = 0.0) -> Ending | None:
    return outlook.ending(item, tasks, service_progress(item, tasks, 0), (), now)


def test_a_global_job_without_nodes_ends_the_wait_after_a_moment() -> None:
    job = service({"GlobalJob": {}}, JobStatus={"JobIteration": {"Index": 0}})
    job["Spec"]["TaskTemplate"] = {"Placement": {"Constraints": ["node.labels.zone==a"]}}
    outlook = Outlook(rollback=False)
    assert ending(outlook, job, [], now=5.0) is None
    found = ending(outlook, job, [], now=5.0 + EMPTY_SECONDS)
    assert found == Ending("service web: no node is eligible for the job (node.labels.zone==a)")


@pytest.mark.parametrize(
    ("asked", "problem"), [(False, "service web: rolled back: rollback completed: why"), (True, "")]
)
def test_a_rollback_is_a_failure_unless_it_was_asked_for(asked: bool, problem: str) -> None:
    outlook, tasks = Outlook(rollback=asked), [task(1, "running"), task(2, "running")]
    assert ending(outlook, service(UpdateStatus={"State": "rollback_started"}), tasks) is None
    completed = service(UpdateStatus={"State": "rollback_completed", "Message": "rollback completed: why"})
    assert ending(outlook, completed, tasks) == Ending(problem, of_update=bool(problem))


def test_a_paused_update_ends_the_wait_with_its_message() -> None:
    paused = service(UpdateStatus={"State": "paused", "Message": "update paused due to x"})
    assert ending(Outlook(rollback=False), paused, []) == Ending(
        "service web: update paused: update paused due to x", of_update=True
    )


def test_rejections_during_an_update_are_left_to_its_failure_action() -> None:
    updating = service(UpdateStatus={"State": "updating"})
    tasks = [task(1, "rejected", at=str(number), error="no") for number in range(5)]
    outlook = Outlook(rollback=False)
    assert ending(outlook, updating, tasks) is None
    assert ending(outlook, service(), tasks) is not None


def test_the_cause_is_that_of_the_newest_failure_that_is_not_over() -> None:
    tasks = [
        task(1, "failed", at="1", error="old"),
        task(1, "running", at="2"),
        task(2, "failed", at="3", error="first"),
        task(2, "rejected", at="4", error="second"),
    ]
    found = failed_task(tasks)
    assert found is not None
    assert found["Status"]["Err"] == "second"
    assert failed_task(tasks[:2]) is None
    assert failed_task(tasks[:2], of_update=True) is not None
