"""Simulated hours of jobs on schedules: leaders that change, decide at the same time or are missing, tasks that fail, nodes that are lost.

Laws: a scheduled time begins at most one run, and exactly one if a leader was there and the policy lets it; runs overlap only where they
may; no more tasks at a time than the job allows in each run; the history keeps the wished runs.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from covey.clock import MINUTE, SECOND
from covey.errors import CoveyError
from covey.objects import JobSchedule, JobStatus, RestartPolicy, ScheduleStatus, Service, Task, replace
from covey.schedule.cron_expression import next_time
from covey.states import MissedRuns, RestartCondition, RunConcurrency, ServiceMode, TaskState
from covey.task_predicates import has_ended, should_run
from manager.orchestrator.firing import MAX_CONCURRENT_RUNS
from manager.orchestrator.reaper import plan_slot
from manager.orchestrator.service_planner import plan_service
from tests.support.planning import Ids, changed, execute, node, service, view_of

START = (
    int(datetime(2026, 10, 24, 23, 0, tzinfo=UTC).timestamp()) * SECOND
)  # the night in which Berlin's clock goes back
STEP = 10 * SECOND


class World:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_ns = START
        self.ids = Ids()
        missed = self.random.choice(list(MissedRuns))
        self.schedule = JobSchedule(
            expression=self.random.choice(["*/2 * * * *", "*/7 * * * *", "*/30 * * * * *"]),
            timezone=self.random.choice(["UTC", "Europe/Berlin"]),
            concurrency=self.random.choice(list(RunConcurrency)),
            history=self.random.randint(0, 3),
            missed=missed,
            deadline_ns=MINUTE if missed is MissedRuns.SKIP else 0,
        )
        made = service(
            "job",
            mode=ServiceMode.REPLICATED_JOB,
            total_completions=self.random.randint(1, 3),
            max_concurrent=self.random.randint(1, 2),
            restart=RestartPolicy(condition=RestartCondition.ON_FAILURE, max_attempts=1, delay_ns=SECOND),
            schedule=self.schedule,
        )
        next_ns = next_time(self.schedule.expression, self.schedule.timezone, START)
        status = ScheduleStatus(next_run_ns=next_ns, decided_ns=START)
        self.view = view_of(node("n1"), replace(made, job_status=JobStatus(), schedule_status=status), now_ns=START)
        self.slowness = self.random.choice([0.1, 0.5, 0.9])
        self.begun: list[int] = []
        self.leaderless: list[int] = []

    @property
    def job(self) -> Service:
        found = self.view.services.get("job")
        assert found is not None
        return found

    def lead(self) -> bool:
        """The leader decides, and so does one that was deposed without knowing it: what it says of the service arrives late."""
        plan, late = (plan_service(self.view, "job", self.now_ns, self.ids) for _ in range(2))
        late_steps = [step for step in late.steps if any(isinstance(item, Service) for item in step.updates)]
        for step in (*plan.steps, *late_steps):
            before = self.job
            try:
                self.view = execute(self.view, [step], self.now_ns)
            except CoveyError:  # the other one was first
                continue
            self.note(before, self.job)
        for slot in range(3) if plan.steps else ():
            self.view = execute(self.view, plan_slot(self.view, "job", slot).steps, self.now_ns)
        self.check()
        return bool(plan.steps)

    def note(self, before: Service, after: Service) -> None:
        if after.job_status == before.job_status:
            return
        assert after.schedule_status is not None
        assert after.job_status.iteration == (before.job_status.iteration + 1 if self.begun else 0)
        assert after.schedule_status.scheduled_ns not in self.begun
        if self.schedule.concurrency is RunConcurrency.FORBID and self.begun:
            assert not [task for task in self.view.tasks if not has_ended(task)], "a run began while another went on"
        self.begun.append(after.schedule_status.scheduled_ns)

    def check(self) -> None:
        running: dict[int, int] = {}
        for task in self.view.tasks:
            if should_run(task) and not task.status.state.terminal:
                running[task.job_iteration] = running.get(task.job_iteration, 0) + 1
        assert all(count <= self.job.spec.max_concurrent for count in running.values())
        limit = MAX_CONCURRENT_RUNS if self.schedule.concurrency is RunConcurrency.ALLOW else 1
        assert len(running) <= limit
        ended = {task.job_iteration for task in self.view.tasks if has_ended(task)}
        going = {run.iteration for run in self.job.schedule_status.earlier} | {self.job.job_status.iteration}
        oldest = min(going | {self.job.job_status.iteration - self.schedule.history})
        last = {max((t for t in self.view.tasks if t.slot == slot), key=lambda t: t.meta.created_at_ns).id
                for slot in {t.slot for t in self.view.tasks}}  # fmt: skip
        old = [t for t in self.view.tasks if has_ended(t) and t.job_iteration < oldest - 1 and t.id not in last]
        assert not old, (ended, oldest)

    def act(self) -> None:
        for task in sorted(self.view.tasks, key=lambda item: item.id):
            if not task.status.state.terminal and self.random.random() > self.slowness:
                self.view = changed(self.view, self._next(task), now_ns=self.now_ns)

    def _next(self, task: Task) -> Task:
        state = TaskState.RUNNING
        if not should_run(task):
            state = TaskState.SHUTDOWN
        elif task.desired_state < TaskState.COMPLETE:
            return task
        elif task.status.state is TaskState.RUNNING:
            state = TaskState.FAILED if self.random.random() < 0.2 else TaskState.COMPLETE
        status = replace(task.status, state=state, timestamp_ns=self.now_ns)
        return replace(task, node_id="n1", status=status)


@pytest.mark.parametrize("seed", range(12))
def test_a_scheduled_time_begins_one_run(seed: int) -> None:
    world = World(seed)
    absent_until = 0
    for _ in range(6 * 60):
        world.now_ns += STEP
        if world.now_ns >= absent_until and world.random.random() < 0.01:
            absent_until = world.now_ns + world.random.randint(1, 9) * MINUTE
        if world.now_ns < absent_until:
            world.leaderless.append(world.now_ns)
        else:
            while world.lead():
                pass
        world.act()
    assert world.begun == sorted(set(world.begun))
    assert len(world.begun) > 3
    if world.schedule.concurrency is RunConcurrency.REPLACE:
        assert not missing(world), "a time passed with a leader there, and nothing began"


def missing(world: World) -> list[int]:
    """The times that began no run though a leader was there within the limit."""
    found, moment = [], next_time(world.schedule.expression, world.schedule.timezone, START)
    while moment < world.now_ns - MINUTE:
        waited = [at for at in world.leaderless if moment <= at <= moment + STEP]
        if moment not in world.begun and not waited:
            found.append(moment)
        moment = next_time(world.schedule.expression, world.schedule.timezone, moment)
    return found
