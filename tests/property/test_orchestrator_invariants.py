"""Invariants of the service planner over arbitrary states: plans reach the goal, planning again gives an empty plan, no slot is doubled."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.objects import RestartPolicy, UpdateConfig, replace
from covey.states import (
    NodeAvailability,
    NodeState,
    RestartCondition,
    ServiceMode,
    TaskState,
    UpdateFailureAction,
    UpdateOrder,
)
from tests.support.planning import NOW, Ids, applied, decide, desired_tasks, node, service, task, view_of

NODES = ("n1", "n2", "n3")
STATES = [
    TaskState.NEW,
    TaskState.PENDING,
    TaskState.ASSIGNED,
    TaskState.RUNNING,
    TaskState.COMPLETE,
    TaskState.FAILED,
    TaskState.SHUTDOWN,
]
DESIRED = [TaskState.READY, TaskState.RUNNING, TaskState.RUNNING, TaskState.SHUTDOWN, TaskState.REMOVE]


@st.composite
def worlds(draw, modes=(ServiceMode.REPLICATED, ServiceMode.GLOBAL)):
    """Any nodes, any tasks in any slots, even what no orchestrator would have made."""
    web = service(
        replicas=draw(st.integers(0, 5)),
        mode=draw(st.sampled_from(modes)),
        restart=RestartPolicy(
            condition=draw(st.sampled_from(RestartCondition)),
            delay_ns=draw(st.sampled_from([0, 10**9])),
            max_attempts=draw(st.integers(0, 2)),
        ),
        update=UpdateConfig(
            parallelism=draw(st.integers(0, 2)),
            order=draw(st.sampled_from(UpdateOrder)),
            failure_action=UpdateFailureAction.CONTINUE,
            monitor_ns=0,
        ),
    )
    old = service(image="old")
    nodes = [
        node(
            name,
            state=draw(st.sampled_from([NodeState.READY, NodeState.READY, NodeState.DOWN])),
            availability=draw(st.sampled_from(NodeAvailability)),
        )
        for name in NODES
    ]
    by_node = web.spec.mode is ServiceMode.GLOBAL
    tasks = []
    for number in range(draw(st.integers(0, 8))):
        state = draw(st.sampled_from(STATES))
        placed = by_node or state >= TaskState.ASSIGNED
        tasks.append(
            replace(
                task(
                    draw(st.sampled_from([web, web, old])),
                    0 if by_node else draw(st.integers(1, 6)),
                    id=f"t{number}",
                    state=state,
                    desired=draw(st.sampled_from(DESIRED)),
                    node_id=draw(st.sampled_from((*NODES, "gone"))) if placed else "",
                ),
                restarts=draw(st.integers(0, 3)),
            )
        )
    return view_of(*nodes, web, *tasks)


def place(item, view):
    return item.node_id if view.services.get("web").spec.mode is ServiceMode.GLOBAL else item.slot


def fixpoint(view):
    """Decides until there is nothing more to decide now; that must come soon."""
    ids = Ids()
    for _ in range(12):
        plan = decide(view, ids=ids)
        if not plan.steps:
            return view
        view = applied(view, plan)
    raise AssertionError(f"no end: {decide(view, ids=ids)}")


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_planning_ends_and_a_slot_has_one_task_or_two_while_an_update_starts_first(view) -> None:
    view = fixpoint(view)
    most = 2 if view.services.get("web").spec.update.order is UpdateOrder.START_FIRST else 1
    assert all(count <= most for count in Counter(place(item, view) for item in desired_tasks(view)).values())


@settings(max_examples=300, deadline=None)
@given(worlds(modes=(ServiceMode.REPLICATED,)))
def test_every_replica_has_a_slot_that_runs_or_is_finished(view) -> None:
    view = fixpoint(view)
    web = view.services.get("web")
    slots = {item.slot for item in desired_tasks(view)}
    never = web.spec.task.restart.condition is RestartCondition.ANY and not web.spec.task.restart.max_attempts
    assert len(slots) <= web.spec.replicas
    assert not never or len(slots) == web.spec.replicas


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_no_task_that_should_run_stays_dead_or_misplaced(view) -> None:
    for item in desired_tasks(fixpoint(view)):
        assert not item.status.state.terminal
        on = view.nodes.get(item.node_id)
        if item.node_id:
            assert on is not None
            assert on.status.state is not NodeState.DOWN
            assert on.spec.availability is not NodeAvailability.DRAIN


@settings(max_examples=200, deadline=None)
@given(worlds())
def test_desired_states_only_go_up(view) -> None:
    after = fixpoint(view)
    for item in view.tasks:
        assert after.tasks.get(item.id).desired_state >= item.desired_state


@settings(max_examples=200, deadline=None)
@given(worlds())
def test_a_new_task_does_not_start_while_its_predecessor_may_still_run(view) -> None:
    after = fixpoint(view)
    if after.services.get("web").spec.update.order is UpdateOrder.START_FIRST:
        return
    made = [item for item in after.tasks if view.tasks.get(item.id) is None and item.desired_state is TaskState.RUNNING]
    for item in made:
        for other in after.tasks:
            same = other.id != item.id and place(other, after) == place(item, after)
            if same and other.desired_state > TaskState.RUNNING and not other.status.state.terminal:
                on = view.nodes.get(other.node_id)
                lost = on is None or on.status.state is NodeState.DOWN
                assert lost or other.status.state < TaskState.ASSIGNED


def test_whether_a_slot_is_finished_does_not_depend_on_the_time() -> None:
    web = service(restart=RestartPolicy(condition=RestartCondition.ANY, max_attempts=1, window_ns=10**9), replicas=1)
    spent = replace(
        task(web, 1, state=TaskState.FAILED, desired=TaskState.SHUTDOWN), restarts=1, restart_window_started_ns=NOW - 1
    )
    view = view_of(node("n1"), web, spent)
    assert not decide(view, now_ns=NOW).steps
    assert not decide(view, now_ns=NOW + 10**15).steps
