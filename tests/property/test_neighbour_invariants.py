"""Invariants of affinity, anti-affinity and maximal skew over random clusters: never broken by a start, never in the way for nothing."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.objects import Affinity, MaxSkew, Node, Placement, Task, replace
from covey.service_options.affinity import aims_at
from covey.states import NodeAvailability, NodeState, TaskState
from covey.task_predicates import should_run
from manager.scheduler.domains import domain_of
from manager.scheduler.filters import first_refusal
from manager.scheduler.node_load import NodeLoadIndex
from manager.scheduler.planner import SchedulerPlanner
from manager.scheduler.request import PlacementRequest
from manager.store.view import View
from tests.support.planning import NOW, applied, node, service, task, view_of

ZONE = "node.labels.zone"
NAMES = ("s0", "s1", "s2")
ACTIVE = NodeAvailability.ACTIVE

hosts = st.builds(
    lambda zone, state, availability: {
        "labels": {"zone": zone} if zone else {},
        "state": state,
        "availability": availability,
    },
    st.sampled_from(["east", "east", "west", "north", ""]),
    st.sampled_from([NodeState.READY, NodeState.READY, NodeState.READY, NodeState.DOWN]),
    st.sampled_from([ACTIVE, ACTIVE, ACTIVE, NodeAvailability.DRAIN]),
)
targets = st.sampled_from([*[{"service": name} for name in NAMES], {"label": "tier", "value": "a"}])
terms = st.builds(
    lambda target, scope, apart, preferred: Affinity(**target, scope=scope, apart=apart, preferred=preferred),
    targets,
    st.sampled_from(["", ZONE]),
    st.booleans(),
    st.sampled_from([False, False, True]),
)
placements = st.builds(
    lambda affinities, skews, most: Placement(affinities=affinities, max_skews=skews, max_replicas=most),
    st.lists(terms, max_size=2).map(tuple),
    st.sampled_from([(), (MaxSkew(limit=1, scope=ZONE),), (MaxSkew(limit=2, scope=ZONE),)]),
    st.sampled_from([0, 0, 1, 2]),
)


@st.composite
def clusters(draw) -> View:
    nodes = [node(f"n{at}", **fields) for at, fields in enumerate(draw(st.lists(hosts, min_size=1, max_size=5)))]
    up = [item.id for item in nodes if item.status.state is NodeState.READY]
    services, tasks = [], []
    for name in NAMES:
        found = service(name, placement=draw(placements))
        labels = {"tier": draw(st.sampled_from(["a", "b"]))}
        annotations = replace(found.spec.annotations, labels=labels)
        services.append(replace(found, spec=replace(found.spec, annotations=annotations)))
        for slot in range(draw(st.integers(0, 5))):
            placed = up and draw(st.integers(0, 3)) == 0
            state = TaskState.RUNNING if placed else TaskState.PENDING
            where = draw(st.sampled_from(up)) if placed else ""
            tasks.append(task(services[-1], slot, state=state, node_id=where))
    return view_of(*nodes, *services, *tasks)


def steps_of(view: View) -> tuple[View, list[Task], SchedulerPlanner]:
    """The view after all passes, the tasks in the order in which they were placed, and the planner."""
    planner, placed = SchedulerPlanner(), []
    planner.reset(view)
    for _ in range(40):
        plan = planner.plan(view, NOW)
        if not plan.steps and not plan.wake_at_ns:
            return view, placed, planner
        view = applied(view, plan)
        for step in plan.steps:
            for item in step.items():
                planner.observe(None, item)
            placed += [item for item in step.updates if item.status.state is TaskState.ASSIGNED]
    raise AssertionError("the scheduler never comes to rest")


def near(view: View, scope: str, of: Node) -> list[Task]:
    """The tasks that should run on nodes of the same domain."""
    value = domain_of(scope, of)
    nodes = {item.id for item in view.nodes if value and domain_of(scope, item) == value}
    return [item for item in view.tasks if item.node_id in nodes and should_run(item)]


def is_aimed(term: Affinity, item: Task, view: View) -> bool:
    return aims_at(term, view.services.get(item.service_id).spec.annotations)


@settings(max_examples=120, deadline=None)
@given(clusters())
def test_each_start_keeps_all_terms_of_both_sides_and_the_skew(view: View) -> None:
    """The placements one after another, each judged by the cluster as it was, without the scheduler's index."""
    _, placed, _ = steps_of(view)
    for item in placed:
        host, placement = view.nodes.get(item.node_id), item.spec.placement
        for term in placement.affinities:
            matching = [other for other in near(view, term.scope, host) if is_aimed(term, other, view)]
            if term.preferred:
                continue
            if term.apart:
                assert not matching, "away from what it must be away from"
            elif not matching:
                anywhere = [other for other in view.tasks if other.node_id and is_aimed(term, other, view)]
                assert domain_of(term.scope, host), "a node without the label is near nothing"
                assert is_aimed(term, item, view), "only a service of its own term begins alone"
                assert not anywhere, "and only where none of them has a task"
        for other in view.services:
            for term in other.spec.task.placement.affinities:
                if term.apart and not term.preferred and is_aimed(term, item, view):
                    assert all(each.service_id != other.id for each in near(view, term.scope, host))
        for skew in placement.max_skews:
            require_skew(view, item, host, skew)
        view = view_of(*view.nodes, *view.services, *[each for each in view.tasks if each.id != item.id], item)


def require_skew(view: View, item: Task, host: Node, skew: MaxSkew) -> None:
    able = [each for each in view.nodes if each.status.state is NodeState.READY and each.spec.availability is ACTIVE]
    counts = Counter({zone: 0 for each in able if (zone := domain_of(skew.scope, each))})
    for other in view.tasks.by_service(item.service_id):
        zone = domain_of(skew.scope, view.nodes.get(other.node_id)) if other.node_id else ""
        if zone in counts:
            counts[zone] += 1
    zone = domain_of(skew.scope, host)
    assert zone
    assert counts[zone] + 1 - min(counts.values()) <= skew.limit


@settings(max_examples=60, deadline=None)
@given(clusters())
def test_a_task_waits_only_if_every_node_refuses_it_and_says_so(view: View) -> None:
    after, _, planner = steps_of(view)
    fresh = NodeLoadIndex.from_view(after)
    for item in after.tasks:
        if item.status.state is TaskState.PENDING:
            request = PlacementRequest.for_task(item, after.networks)
            assert all(first_refusal(request, load) is not None for load in fresh.existing_nodes())
            assert item.status.error.startswith("no suitable node (")
    for scope in ("", ZONE):
        assert _counts(planner.index, scope) == _counts(fresh, scope), "the counts that followed the changes"


def _counts(index: NodeLoadIndex, scope: str) -> dict:
    found = index.domains.by_domain(scope)
    return {key: kept for key, counts in found.items() if (kept := {name: n for name, n in counts.items() if n})}


@settings(max_examples=60, deadline=None)
@given(clusters())
def test_the_same_cluster_gives_the_same_placement(view: View) -> None:
    assert [(item.id, item.node_id) for item in steps_of(view)[1]] == [
        (item.id, item.node_id) for item in steps_of(view)[1]
    ]
