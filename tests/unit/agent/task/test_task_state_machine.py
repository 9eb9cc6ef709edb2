"""The task machine, step by step."""

import msgspec
import pytest

from agent.container.model import HealthStatus
from agent.task.state_machine import (
    ContainerPhase,
    IllegalTransitionError,
    Observation,
    Prepare,
    Release,
    Remove,
    SetStatus,
    Start,
    Stop,
    TaskRecord,
    TaskStep,
    Wait,
    initial_status,
    next_step,
    with_status,
)
from covey.objects import Task, TaskStatus, replace
from covey.states import TaskState

S = TaskState
RUNS = Observation(phase=ContainerPhase.RUNNING, pid=42)


def record(state: TaskState, desired: TaskState = S.RUNNING, **fields: object) -> TaskRecord:
    return TaskRecord(
        task=Task(id="t" * 25, desired_state=desired), status=TaskStatus(state=state), container_id="c" * 64, **fields
    )


def state_after(step: TaskStep) -> TaskState:
    assert isinstance(step, SetStatus)
    return step.status.state


@pytest.mark.parametrize(
    ("state", "observed", "after"),
    [
        (S.ASSIGNED, Observation(), S.ACCEPTED),
        (S.ACCEPTED, Observation(), S.PREPARING),
        (S.READY, Observation(phase=ContainerPhase.CREATED), S.STARTING),
        (S.READY, Observation(), S.FAILED),
        (S.STARTING, RUNS, S.RUNNING),
        (S.STARTING, Observation(phase=ContainerPhase.RUNNING, health=HealthStatus.HEALTHY), S.RUNNING),
        (S.STARTING, Observation(phase=ContainerPhase.EXITED), S.COMPLETE),
        (S.STARTING, Observation(), S.FAILED),
        (S.RUNNING, Observation(phase=ContainerPhase.EXITED, exit_code=0), S.COMPLETE),
        (S.RUNNING, Observation(phase=ContainerPhase.EXITED, exit_code=2), S.FAILED),
        (S.RUNNING, Observation(), S.FAILED),
    ],
)
def test_a_task_that_should_run_moves_up(state: TaskState, observed: Observation, after: TaskState) -> None:
    assert state_after(next_step(record(state), observed, 1)) is after


def test_the_steps_between_two_states() -> None:
    assert next_step(record(S.PREPARING), Observation(), 1) == Prepare()
    assert next_step(record(S.STARTING), Observation(phase=ContainerPhase.CREATED), 1) == Start()
    assert next_step(record(S.RUNNING), RUNS, 1) == Wait()
    assert (
        next_step(record(S.STARTING), Observation(phase=ContainerPhase.RUNNING, health=HealthStatus.STARTING), 1)
        == Wait()
    )


def test_a_task_with_desired_state_ready_waits_in_ready() -> None:
    assert next_step(record(S.READY, S.READY), Observation(phase=ContainerPhase.CREATED), 1) == Wait()


def test_preparing_waits_for_a_secret_that_was_lost_in_a_restart() -> None:
    assert next_step(record(S.PREPARING), Observation(waits_for="secret key"), 1) == Wait()


def test_an_unhealthy_container_is_stopped_with_the_reason() -> None:
    assert next_step(
        record(S.RUNNING), Observation(phase=ContainerPhase.RUNNING, health=HealthStatus.UNHEALTHY), 1
    ) == Stop("unhealthy container")


def test_the_error_of_an_unhealthy_container_has_the_output_of_the_check() -> None:
    ended = Observation(
        phase=ContainerPhase.EXITED, exit_code=137, health=HealthStatus.UNHEALTHY, health_output="no\nanswer\n"
    )
    step = next_step(record(S.RUNNING), ended, 1)
    assert isinstance(step, SetStatus)
    assert (step.status.state, step.status.error) == (S.FAILED, "task: unhealthy container: no answer")


def test_a_task_that_must_end_is_stopped_then_shut_down_then_released() -> None:
    assert next_step(record(S.RUNNING, S.SHUTDOWN), RUNS, 1) == Stop()
    assert (
        state_after(
            next_step(record(S.RUNNING, S.SHUTDOWN), Observation(phase=ContainerPhase.EXITED, exit_code=143), 1)
        )
        is S.SHUTDOWN
    )
    assert state_after(next_step(record(S.ACCEPTED, S.SHUTDOWN), Observation(), 1)) is S.SHUTDOWN
    assert next_step(record(S.SHUTDOWN, S.SHUTDOWN), Observation(phase=ContainerPhase.EXITED), 1) == Release()
    assert (
        next_step(record(S.SHUTDOWN, S.SHUTDOWN, released=True), Observation(phase=ContainerPhase.EXITED), 1) == Wait()
    )


def test_an_ended_task_is_removed_once_it_is_withdrawn_or_its_desired_state_is_remove() -> None:
    assert next_step(record(S.FAILED, assigned=False), Observation(phase=ContainerPhase.EXITED), 1) == Remove()
    assert next_step(record(S.FAILED, S.REMOVE), Observation(phase=ContainerPhase.EXITED), 1) == Remove()


def test_a_removed_task_stays_on_record_until_the_manager_withdraws_it() -> None:
    """The status must reach the manager: only then does it withdraw the task, and only then is the record forgotten."""
    assert next_step(record(S.SHUTDOWN, S.REMOVE, released=True), Observation(), 1) == Wait()
    assert next_step(record(S.SHUTDOWN, S.REMOVE, released=True, assigned=False), Observation(), 1) == Remove()


def test_the_reason_of_a_failure_names_the_exit_code_and_the_memory() -> None:
    step = next_step(record(S.RUNNING), Observation(phase=ContainerPhase.EXITED, exit_code=137, oom_killed=True), 5)
    assert isinstance(step, SetStatus)
    assert step.status.error == "task: non-zero exit (137): out of memory"
    assert step.status.container is not None
    assert (step.status.container.exit_code, step.status.timestamp_ns) == (137, 5)


def test_an_illegal_transition_names_the_history() -> None:
    with pytest.raises(
        IllegalTransitionError, match=r"cannot go from RUNNING to READY; its recent states: STARTING RUNNING"
    ):
        with_status(record(S.RUNNING, history=(S.STARTING, S.RUNNING)), TaskStatus(state=S.READY))
    with pytest.raises(IllegalTransitionError):
        with_status(record(S.FAILED), TaskStatus(state=S.RUNNING))


def test_a_task_continues_from_its_assigned_state() -> None:
    assert initial_status(Task(id="t", status=TaskStatus(state=S.RUNNING)), 9).state is S.RUNNING
    assert initial_status(Task(id="t", status=TaskStatus(state=S.PENDING)), 9) == TaskStatus(
        timestamp_ns=9, state=S.ASSIGNED, message="assigned"
    )


def test_a_task_that_may_not_stay_on_its_node_is_stopped_and_reported_rejected_with_the_reason() -> None:
    ending = record(S.RUNNING, S.SHUTDOWN)
    ending = msgspec.structs.replace(ending, task=replace(ending.task, end_reason="no longer meets constraints"))
    assert next_step(ending, RUNS, 1) == Stop()
    step = next_step(ending, Observation(phase=ContainerPhase.EXITED, exit_code=137), 1)
    assert isinstance(step, SetStatus)
    assert (step.status.state, step.status.error) == (S.REJECTED, "no longer meets constraints")
    assert with_status(ending, step.status).status.state is S.REJECTED
    withdrawn = msgspec.structs.replace(ending, assigned=False)
    assert state_after(next_step(withdrawn, Observation(phase=ContainerPhase.EXITED), 1)) is S.SHUTDOWN
