"""Convergence of services: all desired tasks of the current spec run, and no update is in progress."""

from typing import Any

import pytest

from cli.service.convergence import service_progress


def service(replicas: int | None = 2, update: str = "", message: str = "") -> dict[str, Any]:
    mode = {"Global": {}} if replicas is None else {"Replicated": {"Replicas": replicas}}
    status = {"UpdateStatus": {"State": update, "Message": message}} if update else {}
    return {"Spec": {"Mode": mode}, **status}


def task(
    slot: int, state: str, desired: str = "running", *, at: str = "1", error: str = "", node: str = ""
) -> dict[str, Any]:
    status = {"State": state, "Err": error, "Timestamp": at}
    return {"Slot": slot, "NodeID": node, "DesiredState": desired, "CreatedAt": at, "Status": status}


def test_a_service_with_all_tasks_running_is_converged() -> None:
    assert service_progress(service(), [task(1, "running"), task(2, "running")], 0).converged
    assert service_progress(service(0), [], 0).converged


@pytest.mark.parametrize(
    "tasks",
    [
        [],
        [task(1, "running")],
        [task(1, "running"), task(2, "preparing")],
        [task(1, "running"), task(2, "running", "shutdown")],
        [task(1, "running"), task(2, "running"), task(3, "running")],
    ],
)
def test_fewer_or_more_tasks_than_desired_is_not_converged(tasks: list[dict[str, Any]]) -> None:
    assert not service_progress(service(), tasks, 0).converged


@pytest.mark.parametrize("state", ["updating", "rollback_started"])
def test_an_update_in_progress_is_not_converged(state: str) -> None:
    progress = service_progress(service(update=state), [task(1, "running"), task(2, "running")], 0)
    assert not progress.converged
    assert not progress.paused
    assert state.replace("_", " ") in progress.summary


@pytest.mark.parametrize("state", ["paused", "rollback_paused"])
def test_a_paused_update_stops_the_wait(state: str) -> None:
    progress = service_progress(
        service(update=state, message="too many failed"), [task(1, "running"), task(2, "running")], 0
    )
    assert progress.paused
    assert not progress.converged
    assert progress.message == "too many failed"


def test_the_newest_task_error_is_in_the_summary() -> None:
    tasks = [
        task(1, "rejected", "shutdown", at="1", error="older"),
        task(1, "failed", "shutdown", at="2", error="newer"),
        task(1, "starting", "running", at="3"),
    ]
    progress = service_progress(service(1), tasks, 0)
    assert progress.summary == "0 of 1 tasks running; 1 starting; newer"


def test_a_global_service_waits_for_all_eligible_nodes() -> None:
    tasks = [task(0, "running", node="a"), task(0, "running", node="b")]
    assert service_progress(service(None), tasks, 2).converged
    assert not service_progress(service(None), tasks, 3).converged


def one_shot(condition: str, attempts: int = 0) -> dict[str, Any]:
    policy = {"Condition": condition, "MaxAttempts": attempts}
    return {"Spec": {"Mode": {"Replicated": {"Replicas": 2}}, "TaskTemplate": {"RestartPolicy": policy}}}


@pytest.mark.parametrize(
    ("condition", "attempts", "states", "converged", "fails"),
    [
        ("none", 0, ["complete"], True, False),
        ("on-failure", 0, ["complete"], True, False),
        ("on-failure", 0, ["failed", "complete"], True, False),
        ("any", 0, ["complete"], False, False),
        ("none", 0, ["failed"], False, True),
        ("on-failure", 0, ["failed", "failed"], False, False),
        ("on-failure", 1, ["failed"], False, False),
        ("on-failure", 1, ["failed", "failed"], False, True),
        ("none", 0, ["preparing"], False, False),
    ],
)
def test_slots_that_are_not_started_again_end_the_wait(
    condition: str, attempts: int, states: list[str], converged: bool, fails: bool
) -> None:
    tasks = [task(1, "running"), *(task(2, state, "shutdown", at=str(at)) for at, state in enumerate(states))]
    progress = service_progress(one_shot(condition, attempts), tasks, 0)
    assert progress.converged is converged
    assert bool(progress.failure) is fails


def test_an_error_is_over_once_a_later_task_of_the_slot_runs() -> None:
    tasks = [
        task(1, "failed", "shutdown", at="1", error="boom"),
        task(1, "running", at="2"),
        task(2, "starting", at="2"),
    ]
    assert service_progress(service(2), tasks, 0).error == ""
    assert service_progress(service(2), [*tasks, task(2, "pending", error="no suitable node")], 0).error


def test_old_tasks_that_still_serve_count_during_an_update() -> None:
    """A start-first update: the old task of a slot runs until the new one does."""
    old = [task(slot, "running", at="1") for slot in (1, 2)]
    new = [task(1, "running", at="2"), task(2, "starting", at="2")]
    progress = service_progress(service(2, update="updating"), new, 0, old)
    assert progress.summary == "2 of 2 tasks running; 1 of them updated; 1 starting; updating"
    assert (progress.done, progress.converged) == (1, False)
