"""Invariants of the task state machine while steps are carried out, fail at random, and containers change by themselves."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.container.model import HealthStatus
from agent.task.state_machine import (
    TRANSITIONS,
    ContainerPhase,
    Observation,
    Prepare,
    Release,
    Remove,
    SetStatus,
    Start,
    Stop,
    TaskRecord,
    Wait,
    initial_status,
    next_status,
    next_step,
    with_status,
)
from covey.objects import Task, TaskStatus
from covey.states import TaskState

replace = msgspec.structs.replace


class World:
    """One task and its container. ``failures`` says of each prepare or start whether it fails."""

    def __init__(self, desired: TaskState, failures: list[bool], probe: bool) -> None:
        task = Task(id="t" * 25, desired_state=desired, status=TaskStatus(state=TaskState.ASSIGNED))
        self.record = TaskRecord(task=task, status=initial_status(task, 0), container_id="c")
        self.seen = Observation()
        self.failures = failures
        self.probe = probe
        self.states = [self.record.status.state]
        self.stops = 0
        self.gone = False

    def move(self, status: TaskStatus) -> None:
        self.record = with_status(self.record, status)
        self.states.append(status.state)

    def step(self) -> bool:
        """One step of the controller; False when there is nothing to do."""
        step = next_step(self.record, self.seen, len(self.states))
        if isinstance(step, Wait):
            return False
        if isinstance(step, SetStatus):
            self.move(step.status)
        elif isinstance(step, Prepare | Start):
            self.attempt(step)
        elif isinstance(step, Stop):
            self.stops += 1
            self.seen = replace(self.seen, phase=ContainerPhase.EXITED, exit_code=143)
            if step.reason and not self.record.status.state.terminal:
                self.move(next_status(self.record, TaskState.FAILED, 0, error=step.reason))
        elif isinstance(step, Release):
            self.record = replace(self.record, released=True)
        elif isinstance(step, Remove):
            self.seen = Observation()
            self.record = replace(self.record, released=True)
            self.gone = not self.record.assigned
            return not self.gone
        return True

    def attempt(self, step: Prepare | Start) -> None:
        failed = self.failures.pop() if self.failures else False
        if failed:
            self.move(
                next_status(
                    self.record, TaskState.REJECTED if isinstance(step, Prepare) else TaskState.FAILED, 0, error="no"
                )
            )
        elif isinstance(step, Prepare):
            self.seen = Observation(phase=ContainerPhase.CREATED)
            self.move(next_status(self.record, TaskState.READY, 0))
        else:
            self.seen = Observation(
                phase=ContainerPhase.RUNNING,
                pid=7,
                health=HealthStatus.STARTING if self.probe else HealthStatus.NONE,
            )

    def settle(self) -> None:
        for _ in range(40):
            if not self.step():
                return
        raise AssertionError(f"never comes to rest: {self.states}")

    def happen(self, event: str) -> None:
        """What managers, containers and people do."""
        task = self.record.task
        if event == "exit 0" and self.seen.phase is ContainerPhase.RUNNING:
            self.seen = replace(self.seen, phase=ContainerPhase.EXITED, exit_code=0, health=HealthStatus.NONE)
        elif event == "exit 1" and self.seen.phase is ContainerPhase.RUNNING:
            self.seen = replace(self.seen, phase=ContainerPhase.EXITED, exit_code=1, health=HealthStatus.NONE)
        elif event in {"healthy", "unhealthy"} and self.seen.phase is ContainerPhase.RUNNING and self.probe:
            self.seen = replace(self.seen, health=HealthStatus[event.upper()])
        elif event == "vanish":
            self.seen = Observation()
        elif event == "run":
            self.desire(TaskState.RUNNING)
        elif event == "shut down":
            self.desire(TaskState.SHUTDOWN)
        elif event == "remove":
            self.desire(TaskState.REMOVE)
        elif event == "withdraw":
            self.record = replace(self.record, task=task, assigned=False)

    def desire(self, state: TaskState) -> None:
        task = self.record.task
        self.record = replace(self.record, task=replace(task, desired_state=max(task.desired_state, state)))


EVENTS = ["exit 0", "exit 1", "healthy", "unhealthy", "vanish", "run", "shut down", "remove", "withdraw", "step"]


@settings(max_examples=600, deadline=None)
@given(
    desired=st.sampled_from([TaskState.READY, TaskState.RUNNING, TaskState.SHUTDOWN]),
    failures=st.lists(st.booleans(), max_size=3),
    probe=st.booleans(),
    events=st.lists(st.sampled_from(EVENTS), max_size=12),
)
def test_states_only_go_up_and_the_machine_reaches_the_desired_state(
    desired: TaskState, failures: list[bool], probe: bool, events: list[str]
) -> None:
    world = World(desired, failures, probe)
    for event in events:
        if world.gone:
            break
        world.step() if event == "step" else world.happen(event)
    if not world.gone:
        world.settle()
    assert world.states == sorted(set(world.states)), "a state was repeated or went down"
    assert all(after in TRANSITIONS[before] for before, after in zip(world.states, world.states[1:], strict=False))
    end = world.record
    if not end.assigned:
        assert world.gone
    elif end.task.desired_state > TaskState.RUNNING:
        assert end.status.state.terminal
        assert world.seen.phase is not ContainerPhase.RUNNING
        assert end.released
    elif not end.status.state.terminal:
        wanted = end.task.desired_state
        waiting_for_probe = probe and world.seen.health is HealthStatus.STARTING
        assert end.status.state is (TaskState.STARTING if waiting_for_probe else wanted)
    if end.task.desired_state == TaskState.REMOVE and end.assigned:
        assert world.seen.phase is ContainerPhase.ABSENT


@given(state=st.sampled_from(list(TaskState)), target=st.sampled_from(list(TaskState)))
def test_no_transition_leads_down_or_out_of_a_terminal_state(state: TaskState, target: TaskState) -> None:
    if target in TRANSITIONS.get(state, ()):
        assert target > state
        assert not state.terminal
