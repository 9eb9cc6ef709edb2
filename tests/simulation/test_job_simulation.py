"""A seeded world of jobs: nodes that fail, drain and return, agents that report late, leaders that change, runs again.

Laws, after every step: never more tasks at a time than the job allows; at most one success counted per slot; a slot that has completed
gets no other task; and once the world is quiet, each job has exactly its completions.
"""

from __future__ import annotations

import random

import pytest

from covey.clock import SECOND
from covey.objects import JobStatus, Object, RestartPolicy, Task, replace
from covey.states import NodeAvailability, NodeState, RestartCondition, ServiceMode, TaskState
from covey.task_predicates import has_ended, should_run
from manager.job_runs import is_in_present_run, with_next_run
from manager.orchestrator.orphans import OrphanPlanner
from manager.orchestrator.reaper import ReaperPlanner
from manager.orchestrator.service_planner import ServicePlanner
from manager.store.view import View
from tests.support.planning import NOW, Ids, applied, changed, node, service, view_of

NODES = ("n1", "n2", "n3")
STEPS = 160
SEEDS = range(25)


class World:
    """Managers, nodes and agents of one run. Agents know their tasks by themselves, and a node that is cut off goes on working."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_ns = NOW
        self.unseen: set[str] = set()
        self.ids = Ids()
        self.total, self.concurrent = self.random.randint(0, 9), self.random.randint(1, 4)
        work = service(
            "job",
            mode=ServiceMode.REPLICATED_JOB,
            total_completions=self.total,
            max_concurrent=self.concurrent,
            restart=RestartPolicy(condition=RestartCondition.ON_FAILURE, delay_ns=self.random.choice([0, SECOND])),
        )
        everywhere = service("all", mode=ServiceMode.GLOBAL_JOB, restart=RestartPolicy(delay_ns=0))
        status = JobStatus(last_execution_ns=NOW)
        jobs = [replace(item, job_status=status) for item in (work, everywhere)]
        self.view = view_of(*[node(name) for name in NODES], *jobs)
        self.elect()

    def elect(self) -> None:
        """A new leader begins from a snapshot."""
        self.planners = [ServicePlanner(self.ids), ReaperPlanner(), OrphanPlanner()]
        for planner in self.planners:
            planner.reset(self.view)

    def commit(self, view: View) -> None:
        before, self.view = self.view, view
        for table in ("nodes", "services", "tasks"):
            self._tell(table, before)
        self.check()

    def _tell(self, table: str, before: View) -> None:
        old: dict[str, Object] = {item.id: item for item in getattr(before, table)}
        new: dict[str, Object] = {item.id: item for item in getattr(self.view, table)}
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) is not new.get(key):
                for planner in self.planners:
                    planner.observe(old.get(key), new.get(key))

    def plan(self, passes: int = 1) -> None:
        for _ in range(passes):
            for planner in self.planners:
                self.commit(applied(self.view, planner.plan(self.view, self.now_ns), self.now_ns))

    def act(self, *, calm: bool = False) -> None:
        """Places tasks, and lets agents of reachable nodes take a step."""
        up = [item.id for item in self.view.nodes if item.status.state is NodeState.READY]
        open_nodes = [key for key in up if self.view.nodes.get(key).spec.availability is NodeAvailability.ACTIVE]
        for task in sorted(self.view.tasks, key=lambda item: item.id):
            if task.status.state.terminal or self.random.random() < (0.0 if calm else 0.4):
                continue
            changed_task = self._next(task, up, open_nodes, calm=calm)
            if changed_task is not None:
                self.commit(changed(self.view, changed_task, now_ns=self.now_ns))

    def _next(self, task: Task, up: list[str], open_nodes: list[str], *, calm: bool) -> Task | None:
        state = task.status.state
        if state < TaskState.ASSIGNED:
            target = task.node_id or (self.random.choice(open_nodes) if open_nodes else "")
            if not should_run(task) or target not in open_nodes:
                return None
            return self._with(replace(task, node_id=target), TaskState.ASSIGNED)
        if task.node_id not in up:
            return None
        if not should_run(task) and (calm or self.random.random() < 0.7):
            return self._with(task, TaskState.SHUTDOWN)
        if task.desired_state < TaskState.COMPLETE and state >= TaskState.READY:
            return None
        if state < TaskState.RUNNING:
            return self._with(task, TaskState.READY if state < TaskState.READY else TaskState.RUNNING)
        failed = not calm and self.random.random() < 0.3
        return self._with(task, TaskState.FAILED if failed else TaskState.COMPLETE)

    def _with(self, task: Task, state: TaskState) -> Task:
        return replace(task, status=replace(task.status, state=state, timestamp_ns=self.now_ns))

    def disturb(self) -> None:
        chosen = self.view.nodes.get(self.random.choice(NODES))
        match self.random.randrange(9):
            case 0:
                lost = chosen.status.state is NodeState.READY
                state = NodeState.DOWN if lost else NodeState.READY
                status = replace(chosen.status, state=state, changed_at_ns=self.now_ns)
                self.unseen |= {item.id for item in self.view.tasks.by_node(chosen.id)} if lost else set()
                self.commit(changed(self.view, replace(chosen, status=status), now_ns=self.now_ns))
            case 1:
                availability = self.random.choice(list(NodeAvailability))
                self.commit(changed(self.view, replace(chosen, spec=replace(chosen.spec, availability=availability))))
            case 2:
                self.elect()
            case 3 if self.random.random() < 0.3:
                self.rerun(self.random.choice(["job", "all"]))
            case _:
                pass

    def rerun(self, name: str) -> None:
        self.commit(changed(self.view, with_next_run(self.view.services.get(name), self.now_ns), now_ns=self.now_ns))

    def heal(self) -> None:
        for name in NODES:
            one = self.view.nodes.get(name)
            ready = replace(one.status, state=NodeState.READY, changed_at_ns=self.now_ns)
            spec = replace(one.spec, availability=NodeAvailability.ACTIVE)
            self.commit(changed(self.view, replace(one, status=ready, spec=spec), now_ns=self.now_ns))

    def completed(self, name: str) -> set[object]:
        work = self.view.services.get(name)
        done = [item for item in self.view.tasks.by_service(name) if item.status.state is TaskState.COMPLETE]
        return {(item.slot, item.node_id if name == "all" else "") for item in done if is_in_present_run(work, item)}

    def check(self) -> None:
        """Tasks may run once told to. Those of a node that was down are replaced while they may go on unseen, and are not counted."""
        work = self.view.services.get("job")
        tasks = list(self.view.tasks.by_service("job"))
        started = [
            item
            for item in tasks
            if not has_ended(item) and item.desired_state >= TaskState.RUNNING and item.id not in self.unseen
        ]
        assert len(started) <= self.concurrent, [item.id for item in started]
        assert {item.slot for item in tasks} <= set(range(self.total))
        done = self.completed("job")
        assert len(done) <= self.total
        fresh = [item for item in tasks if item.status.state is TaskState.NEW and is_in_present_run(work, item)]
        assert not done & {(item.slot, "") for item in fresh if should_run(item)} or self.passing_surplus(done)

    def passing_surplus(self, done: set[object]) -> bool:
        """Whether the next pass ends what is left in completed slots: a late success was reported just now."""
        planner = ServicePlanner(Ids("check"))
        planner.reset(self.view)
        after = applied(self.view, planner.plan(self.view, self.now_ns), self.now_ns)
        return not any(
            should_run(item) and (item.slot, "") in done and item.status.state is not TaskState.COMPLETE
            for item in after.tasks.by_service("job")
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_jobs_reach_exactly_their_completions_whatever_happens(seed: int) -> None:
    world = World(seed)
    for _ in range(STEPS):
        world.now_ns += world.random.randrange(3) * SECOND
        world.disturb()
        world.plan()
        world.act()
    world.heal()
    for _ in range(60):
        world.now_ns += 6 * SECOND
        world.plan(2)
        world.act(calm=True)
    assert len(world.completed("job")) == world.total
    assert len(world.completed("all")) == len(NODES)
    quiet = world.view
    world.elect()
    world.plan(3)
    assert world.view.version == quiet.version, "a new leader changes nothing in a cluster that is done"


def test_a_run_of_a_busy_job_counts_its_old_tasks_among_the_concurrent_ones() -> None:
    world = World(3)
    world.total, world.concurrent = 6, 2
    work = world.view.services.get("job")
    spec = replace(work.spec, total_completions=6, max_concurrent=2)
    world.commit(changed(world.view, replace(work, spec=spec)))
    world.plan()
    for task in list(world.view.tasks.by_service("job")):
        world.commit(changed(world.view, world._with(replace(task, node_id="n1"), TaskState.RUNNING)))
    world.rerun("job")
    world.plan(3)
    assert [item.desired_state for item in world.view.tasks.by_service("job")] == [TaskState.REMOVE] * 2
