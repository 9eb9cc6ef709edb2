"""The task machine, step by step."""

import pytest

from agent.task.machine import (
    Health,
    IllegalMoveError,
    Life,
    Move,
    Observation,
    Prepare,
    Record,
    Release,
    Remove,
    Start,
    Step,
    Stop,
    Wait,
    advanced,
    first_status,
    plan,
)
from covey.objects import Task, TaskStatus
from covey.states import TaskState

S = TaskState
RUNS = Observation(life=Life.RUNNING, pid=42)


def record(state: TaskState, desired: TaskState = S.RUNNING, **fields: object) -> Record:
    return Record(
        task=Task(id="t" * 25, desired_state=desired), status=TaskStatus(state=state), container_id="c" * 64, **fields
    )


def state_after(step: Step) -> TaskState:
    assert isinstance(step, Move)
    return step.status.state


@pytest.mark.parametrize(
    ("state", "seen", "after"),
    [
        (S.ASSIGNED, Observation(), S.ACCEPTED),
        (S.ACCEPTED, Observation(), S.PREPARING),
        (S.READY, Observation(life=Life.CREATED), S.STARTING),
        (S.READY, Observation(), S.FAILED),
        (S.STARTING, RUNS, S.RUNNING),
        (S.STARTING, Observation(life=Life.RUNNING, health=Health.HEALTHY), S.RUNNING),
        (S.STARTING, Observation(life=Life.EXITED), S.COMPLETE),
        (S.STARTING, Observation(), S.FAILED),
        (S.RUNNING, Observation(life=Life.EXITED, exit_code=0), S.COMPLETE),
        (S.RUNNING, Observation(life=Life.EXITED, exit_code=2), S.FAILED),
        (S.RUNNING, Observation(), S.FAILED),
    ],
)
def test_a_task_that_is_wanted_moves_up(state: TaskState, seen: Observation, after: TaskState) -> None:
    assert state_after(plan(record(state), seen, 1)) is after


def test_what_is_to_be_done_between_the_moves() -> None:
    assert plan(record(S.PREPARING), Observation(), 1) == Prepare()
    assert plan(record(S.STARTING), Observation(life=Life.CREATED), 1) == Start()
    assert plan(record(S.RUNNING), RUNS, 1) == Wait()
    assert plan(record(S.STARTING), Observation(life=Life.RUNNING, health=Health.STARTING), 1) == Wait()


def test_a_task_wanted_only_ready_waits_there() -> None:
    assert plan(record(S.READY, S.READY), Observation(life=Life.CREATED), 1) == Wait()


def test_preparing_waits_for_a_secret_that_must_come_again_after_a_restart() -> None:
    assert plan(record(S.PREPARING), Observation(waits_for="secret key"), 1) == Wait()


def test_an_unhealthy_container_is_stopped_with_the_reason() -> None:
    assert plan(record(S.RUNNING), Observation(life=Life.RUNNING, health=Health.UNHEALTHY), 1) == Stop(
        "unhealthy container"
    )


def test_a_task_that_is_to_end_is_stopped_then_shut_down_then_released() -> None:
    assert plan(record(S.RUNNING, S.SHUTDOWN), RUNS, 1) == Stop()
    assert (
        state_after(plan(record(S.RUNNING, S.SHUTDOWN), Observation(life=Life.EXITED, exit_code=143), 1)) is S.SHUTDOWN
    )
    assert state_after(plan(record(S.ACCEPTED, S.SHUTDOWN), Observation(), 1)) is S.SHUTDOWN
    assert plan(record(S.SHUTDOWN, S.SHUTDOWN), Observation(life=Life.EXITED), 1) == Release()
    assert plan(record(S.SHUTDOWN, S.SHUTDOWN, released=True), Observation(life=Life.EXITED), 1) == Wait()


def test_an_ended_task_is_removed_once_it_is_withdrawn_or_wanted_gone() -> None:
    assert plan(record(S.FAILED, assigned=False), Observation(life=Life.EXITED), 1) == Remove()
    assert plan(record(S.FAILED, S.REMOVE), Observation(life=Life.EXITED), 1) == Remove()


def test_a_task_wanted_gone_stays_on_record_until_the_manager_has_seen_its_end() -> None:
    """The status must reach the manager: only then does it withdraw the task, and only then is the record forgotten."""
    assert plan(record(S.SHUTDOWN, S.REMOVE, released=True), Observation(), 1) == Wait()
    assert plan(record(S.SHUTDOWN, S.REMOVE, released=True, assigned=False), Observation(), 1) == Remove()


def test_the_reason_of_a_failure_names_the_exit_code_and_the_memory() -> None:
    step = plan(record(S.RUNNING), Observation(life=Life.EXITED, exit_code=137, oom_killed=True), 5)
    assert isinstance(step, Move)
    assert step.status.error == "task: non-zero exit (137): out of memory"
    assert step.status.container is not None
    assert (step.status.container.exit_code, step.status.timestamp_ns) == (137, 5)


def test_an_illegal_move_names_its_history() -> None:
    with pytest.raises(IllegalMoveError, match=r"cannot go from RUNNING to READY; its recent states: STARTING RUNNING"):
        advanced(record(S.RUNNING, history=(S.STARTING, S.RUNNING)), TaskStatus(state=S.READY))
    with pytest.raises(IllegalMoveError):
        advanced(record(S.FAILED), TaskStatus(state=S.RUNNING))


def test_a_task_is_taken_over_where_it_was() -> None:
    assert first_status(Task(id="t", status=TaskStatus(state=S.RUNNING)), 9).state is S.RUNNING
    assert first_status(Task(id="t", status=TaskStatus(state=S.PENDING)), 9) == TaskStatus(
        timestamp_ns=9, state=S.ASSIGNED, message="assigned"
    )
