"""Scaling and slot reconciliation of replicated and global services."""

from covey.objects import Annotations, Cluster, ClusterSpec, Driver, Meta, Placement, RestartPolicy, replace
from covey.states import NodeAvailability, NodeState, RestartCondition, ServiceMode, TaskState
from tests.support.planning import (
    NOW,
    after_planning,
    changed,
    decide,
    desired_tasks,
    in_state,
    node,
    removed,
    run_all_tasks,
    service,
    task,
    view_of,
)

N1, N2 = node("n1"), node("n2")


def slots(view) -> list[int]:
    return sorted(item.slot for item in desired_tasks(view))


def test_a_new_service_gets_one_task_per_replica() -> None:
    view = after_planning(view_of(N1, service(replicas=3)))
    assert slots(view) == [1, 2, 3]
    assert {item.status.state for item in desired_tasks(view)} == {TaskState.NEW}
    assert {item.desired_state for item in desired_tasks(view)} == {TaskState.RUNNING}
    first = view.tasks.by_slot("web", 1)[0]
    assert first.annotations.name == f"web.1.{first.id}"
    assert not decide(view).steps


def test_scaling_down_removes_slots_without_a_running_task_first() -> None:
    web = service(replicas=2)
    tasks = [task(web, 1, state=TaskState.PENDING), task(web, 2), task(web, 3)]
    view = after_planning(view_of(N1, web, *tasks))
    assert slots(view) == [2, 3]
    assert view.tasks.get("web-1").desired_state is TaskState.REMOVE
    assert not decide(view).steps


def test_scaling_down_takes_the_newest_from_the_node_that_holds_most() -> None:
    web = service(replicas=2)
    tasks = [task(web, 1), task(web, 2), task(web, 3, node_id="n2")]
    assert slots(after_planning(view_of(N1, N2, web, *tasks))) == [1, 3]


def test_scaling_up_fills_the_lowest_free_slots() -> None:
    web = service(replicas=4)
    view = after_planning(view_of(N1, web, task(web, 1), task(web, 4)))
    assert slots(view) == [1, 2, 3, 4]


def test_the_tasks_of_a_removed_service_are_to_be_removed() -> None:
    web = service(replicas=2)
    view = removed(view_of(N1, web, task(web, 1), task(web, 2)), web)
    view = after_planning(view)
    assert {item.desired_state for item in view.tasks} == {TaskState.REMOVE}
    assert not decide(view).steps


def test_a_task_on_a_node_that_is_down_is_replaced_at_once_in_its_slot() -> None:
    web = service(replicas=1)
    view = after_planning(view_of(node("n1", state=NodeState.DOWN), N2, web, task(web, 1)))
    (successor,) = desired_tasks(view)
    assert (successor.slot, successor.desired_state, successor.restarts) == (1, TaskState.RUNNING, 0)
    assert view.tasks.get("web-1").desired_state is TaskState.SHUTDOWN
    assert not decide(view).steps


def test_a_task_of_a_node_that_was_removed_is_replaced() -> None:
    web = service(replicas=1)
    view = after_planning(view_of(N2, web, task(web, 1, node_id="gone")))
    assert [item.id for item in desired_tasks(view)] == ["new0001"]


def test_a_successor_waits_for_an_outdated_task_of_its_slot_that_still_runs() -> None:
    """The slot's new task was lost with its node while the old one ran: a third started beside the old one."""
    web, old = service(replicas=1), service(image="old")
    lost = replace(task(web, 1, id="lost", node_id="gone"), meta=Meta(created_at_ns=NOW))
    view = after_planning(after_planning(view_of(N1, web, task(old, 1, id="old"), lost)))
    (successor,) = desired_tasks(view)
    assert (successor.id, successor.desired_state) == ("new0001", TaskState.READY)
    assert view.tasks.get("old").desired_state is TaskState.SHUTDOWN


def test_a_disconnected_node_keeps_its_tasks() -> None:
    web = service(replicas=1)
    assert not decide(view_of(node("n1", state=NodeState.DISCONNECTED), N2, web, task(web, 1))).steps


def test_the_successor_of_a_task_on_a_drained_node_starts_when_its_predecessor_has_ended() -> None:
    web = service(replicas=1)
    view = after_planning(view_of(node("n1", availability=NodeAvailability.DRAIN), N2, web, task(web, 1)))
    (successor,) = desired_tasks(view)
    assert successor.desired_state is TaskState.READY
    assert not decide(view).steps
    view = after_planning(changed(view, in_state(view.tasks.get("web-1"), TaskState.SHUTDOWN)))
    assert view.tasks.get(successor.id).desired_state is TaskState.RUNNING


def test_a_node_whose_labels_no_longer_match_loses_its_task() -> None:
    web = service(replicas=1, placement=Placement(constraints=("node.labels.zone==east",)))
    east, west = node("n1", labels={"zone": "west"}), node("n2", labels={"zone": "east"})
    view = after_planning(view_of(east, west, web, task(web, 1)))
    assert view.tasks.get("web-1").desired_state is TaskState.SHUTDOWN
    assert len(desired_tasks(view)) == 1


def test_of_two_tasks_in_one_slot_the_one_that_runs_stays() -> None:
    web = service(replicas=1)
    view = after_planning(view_of(N1, web, task(web, 1, state=TaskState.PENDING), task(web, 1, id="runs")))
    assert [item.id for item in desired_tasks(view)] == ["runs"]


def test_names_and_labels_of_the_service_alone_restart_nothing() -> None:
    web = service(replicas=1)
    view = view_of(N1, web, task(web, 1))
    labelled = replace(
        view.services.get("web"), spec=replace(web.spec, annotations=Annotations(name="web", labels={"a": "b"}))
    )
    assert not decide(changed(view, labelled)).steps


def test_a_finished_task_is_not_created_again_until_the_spec_changes() -> None:
    web = service(replicas=1, restart=RestartPolicy(condition=RestartCondition.NONE))
    view = after_planning(view_of(N1, web, task(web, 1, state=TaskState.COMPLETE)))
    assert not desired_tasks(view)
    assert not decide(view).steps
    stored = view.services.get("web")
    spec = replace(stored.spec, task=replace(stored.spec.task, force_update=1))
    assert len(desired_tasks(after_planning(changed(view, replace(stored, spec=spec))))) == 1


def test_a_slot_that_was_scaled_away_and_back_gets_a_new_task() -> None:
    web = service(replicas=1, restart=RestartPolicy(condition=RestartCondition.NONE))
    gone = task(web, 1, state=TaskState.COMPLETE, desired=TaskState.REMOVE)
    assert len(desired_tasks(after_planning(view_of(N1, web, gone)))) == 1


def test_a_global_service_has_one_task_on_every_node_that_may_have_one() -> None:
    everywhere = service(mode=ServiceMode.GLOBAL, placement=Placement(constraints=("node.labels.gpu!=no",)))
    nodes = [
        N1,
        N2,
        node("n3", state=NodeState.DOWN),
        node("n4", availability=NodeAvailability.DRAIN),
        node("n5", labels={"gpu": "no"}),
    ]
    view = after_planning(view_of(*nodes, everywhere))
    assert sorted(item.node_id for item in desired_tasks(view)) == ["n1", "n2"]
    assert not decide(view).steps


def test_a_global_task_ends_with_its_node_and_returns_with_it() -> None:
    everywhere = service(mode=ServiceMode.GLOBAL)
    view = view_of(node("n1", state=NodeState.DOWN), everywhere, task(everywhere, 0))
    view = after_planning(view)
    assert not desired_tasks(view)
    assert not decide(view).steps
    view = changed(view, replace(view.nodes.get("n1"), status=N1.status))
    view = after_planning(view)
    assert [item.desired_state for item in desired_tasks(view)] == [TaskState.READY]
    view = run_all_tasks(after_planning(run_all_tasks(view)))
    assert [item.status.state for item in desired_tasks(view)] == [TaskState.RUNNING]
    assert not decide(view, now_ns=NOW).steps


def test_a_task_takes_the_clusters_log_driver_unless_its_service_names_one() -> None:
    default, own = Driver(name="local"), Driver(name="none")
    cluster = Cluster(id="default", spec=ClusterSpec(task_log_driver=default))
    plain = service()
    named = replace(plain, spec=replace(plain.spec, task=replace(plain.spec.task, log_driver=own)))
    assert after_planning(view_of(N1, cluster, plain)).tasks.by_slot("web", 1)[0].log_driver == default
    (task_of_named,) = after_planning(view_of(N1, cluster, named)).tasks.by_slot("web", 1)
    assert (task_of_named.log_driver, task_of_named.spec.log_driver) == (None, own)
