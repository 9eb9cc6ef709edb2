"""Deletion of old tasks, and orphaned tasks."""

from covey.clock import SECOND
from covey.objects import Cluster, ClusterSpec, NodeStatus, RestartPolicy, replace
from covey.states import NodeState, ServiceMode, TaskState
from manager.orchestrator.orphans import ORPHAN_AFTER_NS, plan_node
from manager.orchestrator.reaper import plan_slot
from tests.support.planning import NOW, applied, node, removed, service, task, view_of

CLUSTER = Cluster(id="cluster", spec=ClusterSpec(task_history=3))
WEB = service(replicas=1)


def old(number: int, state=TaskState.FAILED, desired=TaskState.SHUTDOWN):
    return task(WEB, 1, id=f"old{number}", state=state, desired=desired)


def left(*tasks) -> list[str]:
    view = view_of(CLUSTER, node("n1"), WEB, *tasks)
    view = applied(view, plan_slot(view, "web", 1))
    assert not plan_slot(view, "web", 1).steps
    return [item.id for item in view.tasks]


def test_a_slot_keeps_as_many_tasks_as_the_history_limit_and_loses_the_oldest() -> None:
    assert left(*[old(number) for number in range(5)], task(WEB, 1)) == ["old3", "old4", "web-1"]


def test_a_live_task_is_never_deleted() -> None:
    stopping = [old(number, state=TaskState.RUNNING) for number in range(6)]
    assert len(left(*stopping)) == 6


def test_a_task_with_desired_state_remove_is_deleted_once_it_has_ended() -> None:
    assert left(old(1, desired=TaskState.REMOVE), old(2, TaskState.RUNNING, TaskState.REMOVE)) == ["old2"]


def test_removed_tasks_and_tasks_beyond_the_limit_are_deleted_together() -> None:
    assert left(old(0), old(1, desired=TaskState.REMOVE), old(2), old(3), task(WEB, 1)) == ["old2", "old3", "web-1"]


def test_a_task_that_never_had_a_node_leaves_no_history() -> None:
    assert left(old(1, TaskState.PENDING), task(WEB, 1)) == ["web-1"]


def test_the_last_task_of_a_slot_stays_because_it_says_whether_the_slot_is_finished() -> None:
    view = view_of(replace(CLUSTER, spec=ClusterSpec(task_history=0)), node("n1"), WEB, old(1), old(2))
    view = applied(view, plan_slot(view, "web", 1))
    assert [item.id for item in view.tasks] == ["old2"]


def test_the_history_of_a_removed_service_is_deleted() -> None:
    view = removed(view_of(CLUSTER, WEB, old(1), old(2)), WEB)
    assert not applied(view, plan_slot(view, "web", 1)).tasks


def test_the_history_of_a_global_service_on_a_removed_node_is_deleted() -> None:
    everywhere = service("dns", mode=ServiceMode.GLOBAL)
    ended = [task(everywhere, 0, id=f"on-{name}", node_id=name, state=TaskState.FAILED) for name in ("n1", "n2")]
    view = view_of(CLUSTER, node("n1"), everywhere, *ended)
    assert [item.id for item in applied(view, plan_slot(view, "dns", 0)).tasks] == ["on-n1"]


def test_a_task_of_a_node_that_stays_down_is_orphaned_after_60_s() -> None:
    down = node("n1", state=NodeState.DOWN)
    view = view_of(down, WEB, old(1, TaskState.RUNNING))
    early = plan_node(view, "n1", NOW + SECOND)
    assert (early.steps, early.wake_at_ns) == ((), NOW + ORPHAN_AFTER_NS)
    view = applied(view, plan_node(view, "n1", NOW + ORPHAN_AFTER_NS))
    assert view.tasks.get("old1").status.state is TaskState.ORPHANED
    assert not plan_node(view, "n1", NOW + ORPHAN_AFTER_NS).steps


def test_a_task_is_not_orphaned_before_it_was_told_to_end() -> None:
    view = view_of(node("n1", state=NodeState.DOWN), WEB, task(WEB, 1))
    assert not plan_node(view, "n1", NOW + 2 * ORPHAN_AFTER_NS).steps


def test_a_task_on_a_ready_node_is_never_orphaned() -> None:
    lives = replace(node("n1"), status=NodeStatus(state=NodeState.READY, changed_at_ns=1))
    assert not plan_node(view_of(lives, WEB, old(1, TaskState.RUNNING)), "n1", NOW).steps


def test_a_task_of_a_removed_node_is_orphaned_at_once() -> None:
    view = view_of(WEB, old(1, TaskState.RUNNING))
    assert applied(view, plan_node(view, "n1", NOW)).tasks.get("old1").status.state is TaskState.ORPHANED


def test_all_attempts_of_a_limited_restart_policy_are_kept() -> None:
    """Docker 20.10 keeps five failed tasks of a service with four restarts, whatever the task history limit."""
    tried = service(replicas=1, restart=RestartPolicy(max_attempts=4))
    ended = [task(tried, 1, id=f"t{number}", state=TaskState.FAILED, desired=TaskState.SHUTDOWN) for number in range(7)]
    view = view_of(CLUSTER, node("n1"), tried, *ended)
    view = applied(view, plan_slot(view, "web", 1))
    assert [item.id for item in view.tasks] == [f"t{number}" for number in range(2, 7)]
