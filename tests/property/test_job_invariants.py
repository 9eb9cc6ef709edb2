"""Invariants of jobs over arbitrary states: plans end, never too many tasks, no slot twice, nothing done is started again."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.objects import JobStatus, RestartPolicy, Task, replace
from covey.states import NodeAvailability, NodeState, RestartCondition, ServiceMode, TaskState
from covey.task_predicates import has_ended, should_run
from manager.job_runs import is_in_present_run
from manager.store.view import View
from tests.support.planning import NOW, Ids, applied, decide, node, service, task, view_of

NODES = ("n1", "n2", "n3")
STATES = [
    TaskState.NEW,
    TaskState.PENDING,
    TaskState.ASSIGNED,
    TaskState.RUNNING,
    TaskState.COMPLETE,
    TaskState.COMPLETE,
    TaskState.FAILED,
    TaskState.REJECTED,
    TaskState.SHUTDOWN,
]
DESIRED = [TaskState.READY, TaskState.COMPLETE, TaskState.COMPLETE, TaskState.SHUTDOWN, TaskState.REMOVE]


@st.composite
def worlds(draw: st.DrawFn, mode: ServiceMode) -> View:
    """Any nodes and any tasks of three runs in any slots, even what no orchestrator would have made."""
    work = service(
        "job",
        mode=mode,
        total_completions=draw(st.integers(0, 6)),
        max_concurrent=draw(st.integers(0, 4)),
        restart=RestartPolicy(
            condition=draw(st.sampled_from(RestartCondition)),
            delay_ns=draw(st.sampled_from([0, 10**9])),
            max_attempts=draw(st.integers(0, 2)),
        ),
    )
    work = replace(work, job_status=JobStatus(iteration=draw(st.integers(0, 2)), last_execution_ns=NOW))
    nodes = [
        node(
            name,
            state=draw(st.sampled_from([NodeState.READY, NodeState.READY, NodeState.DOWN])),
            availability=draw(st.sampled_from(NodeAvailability)),
        )
        for name in NODES
    ]
    tasks = []
    for number in range(draw(st.integers(0, 10))):
        state = draw(st.sampled_from(STATES))
        placed = mode.is_global or state >= TaskState.ASSIGNED
        fields = {
            "id": f"t{number}",
            "state": state,
            "desired": draw(st.sampled_from(DESIRED)),
            "node_id": draw(st.sampled_from((*NODES, "gone"))) if placed else "",
            "job_iteration": draw(st.integers(0, 2)),
            "restarts": draw(st.integers(0, 3)),
        }
        tasks.append(task(work, 0 if mode.is_global else draw(st.integers(0, 5)), **fields))
    return view_of(*nodes, work, *tasks)


def fixpoint(view: View) -> View:
    """Decides until there is nothing more to decide now; that must come soon."""
    ids = Ids()
    for _ in range(12):
        plan = decide(view, "job", ids=ids)
        if not plan.steps:
            return view
        view = applied(view, plan)
    raise AssertionError(f"no end: {decide(view, 'job', ids=ids)}")


def slot(view: View, item: Task) -> int | str:
    return item.node_id if view.services.get("job").spec.mode.is_global else item.slot


def present(view: View) -> list[Task]:
    return [item for item in view.tasks.by_service("job") if is_in_present_run(view.services.get("job"), item)]


def live(view: View) -> list[Task]:
    return [item for item in view.tasks.by_service("job") if should_run(item) and not item.status.state.terminal]


@settings(max_examples=300, deadline=None)
@given(worlds(ServiceMode.REPLICATED_JOB))
def test_a_replicated_job_never_starts_more_than_it_may_and_nothing_that_is_done(view: View) -> None:
    before, after = view, fixpoint(view)
    spec = after.services.get("job").spec
    made = [item for item in live(after) if before.tasks.get(item.id) is None]
    done = {item.slot for item in present(after) if item.status.state is TaskState.COMPLETE}
    assert not done & {item.slot for item in live(after)}
    assert all(count == 1 for count in Counter(item.slot for item in live(after)).values())
    assert all(is_in_present_run(after.services.get("job"), item) for item in live(after))
    fresh = [item for item in made if item.restarts == 0 and not any(old.slot == item.slot for old in present(before))]
    assert not fresh or len(live(after)) <= spec.max_concurrent
    assert {item.slot for item in fresh} <= set(range(spec.total_completions))


@settings(max_examples=300, deadline=None)
@given(worlds(ServiceMode.REPLICATED_JOB))
def test_a_replicated_job_uses_the_places_that_it_has(view: View) -> None:
    after = fixpoint(view)
    spec = after.services.get("job").spec
    closed = {item.slot for item in present(after)}
    ending = [item for item in after.tasks.by_service("job") if not has_ended(item) and not should_run(item)]
    missing = [number for number in range(spec.total_completions) if number not in closed]
    assert not missing or len(live(after)) + len(ending) >= spec.max_concurrent


@settings(max_examples=300, deadline=None)
@given(worlds(ServiceMode.GLOBAL_JOB))
def test_a_global_job_has_a_task_or_a_result_on_each_node_that_takes_part(view: View) -> None:
    after = fixpoint(view)
    assert all(count == 1 for count in Counter(slot(after, item) for item in live(after)).values())
    reached = {
        item.node_id for item in after.tasks.by_service("job") if is_in_present_run(after.services.get("job"), item)
    }
    blocked = {item.node_id for item in after.tasks.by_service("job") if not has_ended(item) and not should_run(item)}
    for one in after.nodes:
        free = one.status.state is NodeState.READY and one.spec.availability is NodeAvailability.ACTIVE
        assert not free or one.id in reached | blocked
        assert (
            free
            or one.spec.availability is not NodeAvailability.DRAIN
            or one.id not in {item.node_id for item in live(after)}
        )
