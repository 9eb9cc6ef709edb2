"""Changes of a service's placement, and of what its nodes are: which tasks stay, which end, and with what reason."""

from __future__ import annotations

import pytest

from covey.objects import Annotations, Placement, RestartPolicy, Service, UpdateStatus, replace
from covey.states import NodeAvailability, RestartCondition, ServiceMode, TaskState, UpdateState
from manager.orchestrator.slots import CONSTRAINT_LOST
from manager.store.view import View
from tests.support.planning import (
    Ids,
    after_planning,
    applied,
    changed,
    decide,
    desired_tasks,
    in_state,
    node,
    service,
    task,
    view_of,
)

EAST = ("node.labels.zone==east",)


def updated(old: Service, version: int = 5, **changes) -> Service:
    """The service after an update of its task's spec."""
    spec = replace(old.spec, task=replace(old.spec.task, **changes))
    return replace(old, spec=spec, spec_version=version)


@pytest.mark.parametrize(
    "placement",
    [Placement(constraints=EAST), Placement(preferences=("node.labels.zone",)), Placement(max_replicas=1)],
)
def test_a_placement_that_the_node_meets_replaces_no_task(placement: Placement) -> None:
    old = service()
    web = updated(old, placement=placement)
    view = after_planning(view_of(node("n1", labels={"zone": "east"}), web, task(old, 1)))
    (kept,) = desired_tasks(view)
    assert (kept.id, kept.spec, kept.spec_version) == ("web-1", web.spec.task, 5)
    assert view.services.get("web").update_status is None
    assert not decide(view).steps


@pytest.mark.parametrize(
    "changes",
    [
        {"placement": Placement(constraints=("node.labels.zone==west",))},
        {"placement": Placement(constraints=EAST), "force_update": 1},
    ],
)
def test_a_placement_that_the_node_does_not_meet_or_other_work_replaces_the_task(changes: dict) -> None:
    old = service()
    view = after_planning(view_of(node("n1", labels={"zone": "east"}), updated(old, **changes), task(old, 1)))
    assert view.tasks.get("web-1").desired_state is TaskState.SHUTDOWN
    status = view.services.get("web").update_status
    assert status == UpdateStatus(
        state=UpdateState.UPDATING, started_at_ns=status.started_at_ns, message="update in progress"
    )


def test_only_the_tasks_on_other_nodes_are_moved() -> None:
    old = service(replicas=2)
    nodes = node("n1", labels={"zone": "east"}), node("n2")
    web = updated(old, placement=Placement(constraints=EAST))
    view = after_planning(view_of(*nodes, web, task(old, 1), task(old, 2, node_id="n2")))
    assert view.tasks.get("web-1").desired_state is TaskState.RUNNING
    assert view.tasks.get("web-2").desired_state is TaskState.SHUTDOWN


def test_a_task_that_is_not_placed_yet_is_replaced_by_one_with_the_new_placement() -> None:
    old = service(placement=Placement(constraints=("node.labels.zone==none",)))
    waiting = in_state(task(old, 1, node_id=""), TaskState.PENDING)
    view = after_planning(view_of(node("n1"), updated(old, placement=None), waiting))
    assert view.tasks.get("web-1").desired_state is TaskState.SHUTDOWN


def test_new_credentials_reach_the_tasks_that_run() -> None:
    old = service()
    web = updated(old, container=replace(old.spec.task.container, registry_auth="new"))
    view = after_planning(view_of(node("n1"), web, task(old, 1)))
    (kept,) = desired_tasks(view)
    assert (kept.id, kept.spec.container.registry_auth) == ("web-1", "new")


def without_label(view: View, *, availability: NodeAvailability = NodeAvailability.ACTIVE) -> View:
    found = view.nodes.get("n1")
    return changed(view, replace(found, spec=replace(found.spec, annotations=Annotations(), availability=availability)))


def test_a_task_whose_node_loses_its_label_ends_with_the_reason_and_a_drained_one_without() -> None:
    web = service(placement=Placement(constraints=EAST))
    view = view_of(node("n1", labels={"zone": "east"}), web, task(web, 1))
    lost = after_planning(without_label(view)).tasks.get("web-1")
    assert (lost.desired_state, lost.end_reason) == (TaskState.SHUTDOWN, CONSTRAINT_LOST)
    drained = after_planning(without_label(view, availability=NodeAvailability.DRAIN)).tasks.get("web-1")
    assert (drained.desired_state, drained.end_reason) == (TaskState.SHUTDOWN, "")


def test_a_global_task_that_was_rejected_for_its_label_comes_back_with_it_whatever_the_restart_policy() -> None:
    once = RestartPolicy(condition=RestartCondition.NONE)
    web = service(mode=ServiceMode.GLOBAL, placement=Placement(constraints=EAST), restart=once)
    view = view_of(node("n1", labels={"zone": "east"}), web, task(web, 0))
    labelled = view.nodes.get("n1")
    view = after_planning(without_label(view))
    view = changed(view, in_state(view.tasks.get("web-1") or view.tasks.get("web-0"), TaskState.REJECTED))
    assert not decide(view).steps
    back = replace(view.nodes.get("n1"), spec=labelled.spec)
    view = applied(changed(view, back), decide(changed(view, back), ids=Ids("back")))
    assert [item.node_id for item in desired_tasks(view)] == ["n1"]
