"""Affinity, anti-affinity and maximal skew: which nodes are open, in which order they are taken, and what a waiting task says."""

from __future__ import annotations

from collections import Counter

from covey.objects import Affinity, MaxSkew, Placement, Service, replace
from covey.states import NodeAvailability, NodeState, TaskState
from manager.scheduler.planner import SchedulerPlanner
from manager.store.view import View
from tests.support.planning import NOW, applied, changed, in_state, node, service, task, view_of

ZONE = "node.labels.zone"
HOSTS = [node("e1", labels={"zone": "east"}), node("e2", labels={"zone": "east"}), node("w1", labels={"zone": "west"})]


def near(target: str, scope: str = "", **changes) -> Affinity:
    return Affinity(service=target, scope=scope, **changes)


def away(target: str, scope: str = "", **changes) -> Affinity:
    return Affinity(service=target, scope=scope, apart=True, **changes)


def with_terms(name: str, *terms: Affinity, labels=None, **placement) -> Service:
    found = service(name, placement=Placement(affinities=terms, **placement))
    annotations = replace(found.spec.annotations, labels=labels or {})
    return replace(found, spec=replace(found.spec, annotations=annotations))


def pending(of: Service, number: int) -> list:
    return [task(of, slot, state=TaskState.PENDING, node_id="") for slot in range(1, number + 1)]


def scheduled(view: View) -> View:
    planner = SchedulerPlanner()
    planner.reset(view)
    for _ in range(4):
        view = observed(view, planner)
    assert not planner.plan(view, NOW).steps
    return view


def observed(view: View, planner: SchedulerPlanner) -> View:
    """The view after one pass, which the planner has seen."""
    plan = planner.plan(view, NOW)
    for step in plan.steps:
        for item in step.items():
            planner.observe(None, item)
    return applied(view, plan)


def placed(view: View, name: str) -> Counter:
    return Counter(item.node_id for item in view.tasks.by_service(name) if item.status.state is TaskState.ASSIGNED)


def why(view: View, task_id: str) -> str:
    item = view.tasks.get(task_id)
    assert item.status.state is TaskState.PENDING
    return item.status.error


def test_a_task_goes_to_the_node_or_zone_of_the_service_that_it_must_be_near() -> None:
    db = service("db")
    web, cache = with_terms("web", near("db")), with_terms("cache", near("db", ZONE))
    there = task(db, 1, node_id="e2")
    view = scheduled(view_of(*HOSTS, db, web, cache, there, *pending(web, 3), *pending(cache, 2)))
    assert placed(view, "web") == {"e2": 3}
    assert placed(view, "cache") == {"e1": 1, "e2": 1}, "both are in the zone"


def test_a_task_waits_for_the_first_task_of_the_other_service_in_whatever_order_they_come() -> None:
    db, web = service("db"), with_terms("web", near("db", ZONE))
    view = scheduled(view_of(*HOSTS, web, *pending(web, 1)))
    assert why(view, "web-1") == "no suitable node (affinity not satisfied on 3 nodes: db@node.labels.zone)"
    view = scheduled(view_of(*HOSTS, db, web, *pending(web, 2), *pending(db, 1)))
    assert placed(view, "db") == {"e1": 1}
    assert set(placed(view, "web")) == {"e2", "e1"}


def test_a_waiting_task_is_placed_when_a_task_of_the_other_service_comes_much_later() -> None:
    db, web = service("db"), with_terms("web", near("db"))
    view = view_of(*HOSTS, db, web, *pending(web, 1))
    planner = SchedulerPlanner()
    planner.reset(view)
    view = observed(view, planner)
    assert not planner.plan(view, NOW).steps
    (new,) = pending(db, 1)
    view = view_of(*view.nodes, *view.services, *view.tasks, new)
    planner.observe(None, new)
    view = observed(observed(view, planner), planner)
    assert placed(view, "web") == placed(view, "db") == {"e1": 1}


def test_a_waiting_task_is_placed_when_a_service_gets_the_label_that_it_looks_for() -> None:
    db, web = service("db"), with_terms("web", Affinity(label="role", value="db"))
    view = view_of(*HOSTS, db, web, task(db, 1, node_id="w1"), *pending(web, 1))
    planner = SchedulerPlanner()
    planner.reset(view)
    view = applied(view, planner.plan(view, NOW))
    assert "label:role=db@node" in why(view, "web-1")
    db = view.services.get("db")
    labels = replace(db.spec.annotations, labels={"role": "db"})
    view = changed(view, replace(db, spec=replace(db.spec, annotations=labels)))
    planner.observe(db, view.services.get("db"))
    assert placed(applied(view, planner.plan(view, NOW)), "web") == {"w1": 1}


def test_a_service_that_must_be_near_itself_begins_anywhere_and_stays_together() -> None:
    web = with_terms("web", near("web", ZONE))
    view = scheduled(view_of(*HOSTS, web, *pending(web, 5)))
    assert set(placed(view, "web")) == {"e1", "e2"}


def test_tasks_that_must_be_apart_are_on_different_nodes_or_zones() -> None:
    web = with_terms("web", away("web"))
    view = scheduled(view_of(*HOSTS, web, *pending(web, 4)))
    assert sorted(placed(view, "web").values()) == [1, 1, 1]
    assert why(view, "web-4") == "no suitable node (anti-affinity not satisfied on 3 nodes: web@node)"
    zoned = with_terms("zoned", away("zoned", ZONE))
    view = scheduled(view_of(*HOSTS, zoned, *pending(zoned, 3)))
    assert {name[0] for name in placed(view, "zoned")} == {"e", "w"}
    assert placed(view, "zoned").total() == 2


def test_what_one_service_keeps_away_from_is_kept_away_from_it_too() -> None:
    db, batch = with_terms("db", away("batch", ZONE)), service("batch")
    view = scheduled(view_of(*HOSTS, db, batch, task(db, 1, node_id="e1"), *pending(batch, 2)))
    assert placed(view, "batch") == {"w1": 2}
    view = scheduled(view_of(*HOSTS[:2], db, batch, task(db, 1, node_id="e1"), *pending(batch, 1)))
    assert "service db keeps away from node.labels.zones with batch" in why(view, "batch-1")


def test_tasks_that_are_told_to_end_neither_attract_nor_repel() -> None:
    db, web = service("db"), with_terms("web", near("db"))
    leaving = task(db, 1, node_id="e1", desired=TaskState.SHUTDOWN)
    assert "affinity" in why(scheduled(view_of(*HOSTS, db, web, leaving, *pending(web, 1))), "web-1")
    apart = with_terms("apart", away("db"))
    assert placed(scheduled(view_of(HOSTS[0], db, apart, leaving, *pending(apart, 1))), "apart") == {"e1": 1}


def test_a_node_without_the_label_is_in_no_zone() -> None:
    bare, db = node("bare"), service("db")
    web, alone = with_terms("web", near("db", ZONE)), with_terms("alone", away("db", ZONE))
    view = scheduled(view_of(bare, db, web, alone, task(db, 1, node_id="bare"), *pending(web, 1), *pending(alone, 1)))
    assert placed(view, "alone") == {"bare": 1}
    assert "affinity" in why(view, "web-1")


def test_preferred_terms_decide_before_the_spread_and_refuse_nothing() -> None:
    db = service("db")
    web = with_terms("web", near("db", preferred=True), max_replicas=2)
    view = scheduled(view_of(*HOSTS, db, web, task(db, 1, node_id="w1"), *pending(web, 4)))
    assert placed(view, "web") == {"w1": 2, "e1": 1, "e2": 1}
    apart = with_terms("apart", away("apart", ZONE, preferred=True))
    view = scheduled(view_of(*HOSTS, apart, *pending(apart, 3)))
    assert placed(view, "apart")["w1"] == 1
    assert placed(view, "apart").total() == 3


def test_no_zone_gets_more_than_the_skew_allows_and_one_that_is_full_stops_the_others() -> None:
    web = with_terms("web", max_skews=(MaxSkew(limit=1, scope=ZONE),), max_replicas=2)
    view = scheduled(view_of(*HOSTS, web, *pending(web, 6)))
    assert placed(view, "web")["w1"] == 2
    assert placed(view, "web").total() == 5
    assert "max skew exceeded on 1 node: at most 1 more in one node.labels.zone" in why(view, "web-6")


def test_a_zone_without_an_available_node_does_not_count() -> None:
    web = with_terms("web", max_skews=(MaxSkew(limit=1, scope=ZONE),))
    for gone in (
        node("w1", labels={"zone": "west"}, state=NodeState.DOWN),
        node("w1", labels={"zone": "west"}, availability=NodeAvailability.DRAIN),
    ):
        assert placed(scheduled(view_of(*HOSTS[:2], gone, web, *pending(web, 4))), "web").total() == 4
    fits = with_terms("fits", max_skews=(MaxSkew(limit=1, scope=ZONE),), constraints=("node.labels.zone==east",))
    assert placed(scheduled(view_of(*HOSTS, fits, *pending(fits, 4))), "fits").total() == 4


def test_a_zone_that_goes_down_stops_the_others_no_longer() -> None:
    web = with_terms("web", max_skews=(MaxSkew(limit=1, scope=ZONE),), max_replicas=2)
    view = view_of(*HOSTS, web, *pending(web, 6))
    planner = SchedulerPlanner()
    planner.reset(view)
    view = observed(view, planner)
    assert "max skew exceeded" in why(view, "web-6")
    before = view.nodes.get("w1")
    view = changed(view, replace(before, status=replace(before.status, state=NodeState.DOWN)))
    planner.observe(before, view.nodes.get("w1"))
    assert placed(observed(view, planner), "web") == {"e1": 2, "e2": 2, "w1": 2}


def test_a_zone_that_comes_back_is_filled_first() -> None:
    web = with_terms("web", max_skews=(MaxSkew(limit=1, scope=ZONE),))
    view = scheduled(view_of(*HOSTS[:2], web, *pending(web, 4)))
    planner = SchedulerPlanner()
    planner.reset(view)
    more = [task(web, slot, state=TaskState.PENDING, node_id="") for slot in (5, 6, 7)]
    view = view_of(*view.nodes, HOSTS[2], *view.services, *view.tasks, *more)
    assert placed(scheduled(view), "web")["w1"] == 3


def test_an_ended_task_makes_place_for_one_that_must_be_apart() -> None:
    web = with_terms("web", away("web"))
    view = view_of(HOSTS[0], web, task(web, 9, node_id="e1"), *pending(web, 1))
    planner = SchedulerPlanner()
    planner.reset(view)
    view = applied(view, planner.plan(view, NOW))
    assert why(view, "web-1")
    before = view.tasks.get("web-9")
    view = changed(view, in_state(before, TaskState.FAILED))
    planner.observe(before, view.tasks.get("web-9"))
    assert placed(applied(view, planner.plan(view, NOW)), "web") == {"e1": 1}
