"""Invariants of the scheduler: no refused node, no exceeded limit, an even spread, and an index equal to one built from the view."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.objects import NodeDescription, Placement, ResourceRequirements, Resources, replace
from covey.states import NodeAvailability, NodeState, TaskState
from manager.constraints import meets_constraints
from manager.scheduler.node_load import NodeLoadIndex
from manager.scheduler.planner import SchedulerPlanner
from tests.support.planning import NOW, applied, changed, execute, in_state, node, service, task, view_of

nodes = st.builds(
    lambda state, availability, zone, cpus: {
        "state": state,
        "availability": availability,
        "labels": {"zone": zone},
        "description": NodeDescription(resources=Resources(nano_cpus=cpus)),
    },
    st.sampled_from([NodeState.READY, NodeState.READY, NodeState.DOWN, NodeState.DISCONNECTED]),
    st.sampled_from([NodeAvailability.ACTIVE, NodeAvailability.ACTIVE, NodeAvailability.PAUSE, NodeAvailability.DRAIN]),
    st.sampled_from(["east", "west"]),
    st.integers(0, 4),
)
services = st.builds(
    lambda constraint, preference, bound, cpus: {
        "placement": Placement(constraints=constraint, preferences=preference, max_replicas=bound),
        "resources": ResourceRequirements(reservations=Resources(nano_cpus=cpus)),
    },
    st.sampled_from([(), ("node.labels.zone==east",), ("node.labels.zone!=east",)]),
    st.sampled_from([(), ("node.labels.zone",)]),
    st.integers(0, 2),
    st.integers(0, 2),
)


@st.composite
def worlds(draw):
    hosts = [node(f"n{at}", **fields) for at, fields in enumerate(draw(st.lists(nodes, max_size=4)))]
    wishes = [service(f"s{at}", **fields) for at, fields in enumerate(draw(st.lists(services, min_size=1, max_size=3)))]
    tasks = []
    for wish in wishes:
        for slot in range(draw(st.integers(0, 6))):
            placed = hosts and draw(st.booleans())
            tasks.append(
                task(
                    wish,
                    slot,
                    state=draw(st.sampled_from([TaskState.RUNNING, TaskState.FAILED])) if placed else TaskState.PENDING,
                    desired=draw(st.sampled_from([TaskState.RUNNING, TaskState.SHUTDOWN]))
                    if placed
                    else TaskState.RUNNING,
                    node_id=draw(st.sampled_from(hosts)).id if placed else "",
                )
            )
    return view_of(*hosts, *wishes, *tasks)


def scheduled(view):
    planner = SchedulerPlanner()
    planner.reset(view)
    plan = planner.plan(view, NOW)
    return applied(view, plan), planner, plan


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_no_task_is_placed_on_a_node_that_a_filter_refuses(view) -> None:
    after, _, _ = scheduled(view)
    placed = [item for item in after.tasks if item.status.state is TaskState.ASSIGNED]
    for item in placed:
        on = after.nodes.get(item.node_id)
        assert on.status.state is NodeState.READY
        assert on.spec.availability is NodeAvailability.ACTIVE
        assert meets_constraints(item.spec.placement, on)
        load = NodeLoadIndex.from_view(after).loads[on.id]
        bound = item.spec.placement.max_replicas
        assert not bound or load.active_by_service[item.service_id] <= bound
        assert not item.spec.resources.reservations.nano_cpus or load.nano_cpus <= on.description.resources.nano_cpus


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_planning_again_gives_an_empty_plan_and_unplaced_tasks_have_a_reason(view) -> None:
    after, planner, plan = scheduled(view)
    for step in plan.steps:
        for item in step.items():
            planner.observe(None, item)
    assert not planner.plan(after, NOW).steps
    assert not scheduled(after)[2].steps
    for item in after.tasks:
        assert item.status.state is not TaskState.PENDING or item.status.error.startswith("no suitable node (")


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5), st.integers(0, 30), st.lists(st.integers(0, 4), max_size=8))
def test_equal_tasks_are_spread_evenly_where_the_initial_load_allows_it(
    hosts: int, count: int, there: list[int]
) -> None:
    web = service()
    before = [task(web, 100 + at, node_id=f"n{number % hosts}") for at, number in enumerate(there)]
    new = [task(web, slot, state=TaskState.PENDING, node_id="") for slot in range(count)]
    after, _, _ = scheduled(view_of(*[node(f"n{at}") for at in range(hosts)], web, *before, *new))
    started = Counter(item.node_id for item in before)
    levels = Counter({f"n{at}": 0 for at in range(hosts)})
    levels.update(item.node_id for item in after.tasks)
    assert levels.total() == count + len(there)
    top = max(levels.values())
    for name, level in levels.items():
        assert level == started[name] or level >= top - 1 or top == max(started.values(), default=0)


@settings(max_examples=200, deadline=None)
@given(worlds(), st.data())
def test_an_index_that_followed_all_changes_equals_one_made_from_the_view(view, data) -> None:
    view, planner, plan = scheduled(view)
    for step in plan.steps:
        for item in step.items():
            planner.observe(None, item)
    for _ in range(data.draw(st.integers(0, 8))):
        living = [item for item in view.tasks if not item.status.state.terminal and item.node_id]
        if not living:
            break
        before = data.draw(st.sampled_from(living))
        view = changed(view, in_state(before, data.draw(st.sampled_from([TaskState.FAILED, TaskState.SHUTDOWN]))))
        planner.observe(before, view.tasks.get(before.id))
        if data.draw(st.booleans()):
            plan = planner.plan(view, NOW)
            view = applied(view, plan)
            for step in plan.steps:
                for item in step.items():
                    planner.observe(None, item)
    while (plan := planner.plan(view, NOW)).steps:
        view = applied(view, plan)
        for step in plan.steps:
            for item in step.items():
                planner.observe(None, item)
    fresh = NodeLoadIndex.from_view(view)
    assert {key: load.as_tuple() for key, load in planner.index.loads.items()} == {
        key: load.as_tuple() for key, load in fresh.loads.items()
    }


KINDS = ("gpu", "disk")
wishes = st.dictionaries(st.sampled_from(KINDS), st.integers(0, 3), max_size=2)
advertised = st.builds(
    lambda names, numbers: Resources(
        generic={kind: number for kind, number in numbers.items() if kind == "disk" or not names},
        named_generic=tuple(f"gpu={name}" for name in names),
    ),
    st.lists(st.sampled_from("abcd"), unique=True, max_size=4),
    st.dictionaries(st.sampled_from(KINDS), st.integers(0, 5), max_size=2),
)


def require_no_oversubscription(view, known) -> None:
    """Each name is held once, and held numbers never exceed the largest number that the node ever had."""
    for host in view.nodes:
        holders = [item for item in view.tasks.by_node(host.id) if not item.status.state.terminal]
        held = [item.generic_resources for item in holders if item.generic_resources is not None]
        names = Counter(name for one in held for name in one.named_generic)
        assert all(count == 1 for count in names.values()), names
        assert set(names) <= {name for each in known[host.id] for name in each.named_generic}
        for kind in KINDS:
            most = max(each.generic.get(kind, 0) for each in known[host.id])
            assert sum(one.generic.get(kind, 0) for one in held) <= most


@settings(max_examples=300, deadline=None)
@given(st.lists(advertised, min_size=1, max_size=3), st.lists(wishes, min_size=1, max_size=3), st.data())
def test_generic_resources_are_held_once_and_given_back(hosts, wanted, data) -> None:
    """Tasks come and end while what the nodes advertise changes; a task that was placed holds exactly what it wished."""
    described = [NodeDescription(resources=resources) for resources in hosts]
    known = {f"n{at}": [resources] for at, resources in enumerate(hosts)}
    of = [
        service(f"s{at}", resources=ResourceRequirements(reservations=Resources(generic=wish)))
        for at, wish in enumerate(wanted)
    ]
    view = view_of(*[node(f"n{at}", description=one) for at, one in enumerate(described)], *of)
    planner = SchedulerPlanner()
    planner.reset(view)
    for slot in range(data.draw(st.integers(1, 12))):
        living = [item for item in view.tasks if item.status.state is TaskState.ASSIGNED]
        action = data.draw(st.sampled_from(["new", "new", "end", "change"]))
        if action == "end" and living:
            before = data.draw(st.sampled_from(living))
            after = in_state(before, TaskState.FAILED)
        elif action == "change":
            before = view.nodes.get(data.draw(st.sampled_from(sorted(known))))
            resources = data.draw(advertised)
            known[before.id].append(resources)
            after = replace(before, description=NodeDescription(resources=resources))
        else:
            before, after = None, task(data.draw(st.sampled_from(of)), slot, state=TaskState.PENDING, node_id="")
        view = execute(view, [lambda tx, after=after, before=before: (tx.update if before else tx.create)(after)], NOW)
        planner.observe(before, after)
        plan = planner.plan(view, NOW)
        view = applied(view, plan)
        for step in plan.steps:
            for item in step.items():
                planner.observe(None, item)
        require_no_oversubscription(view, known)
    for item in view.tasks:
        wish = item.spec.resources.reservations.generic
        if item.status.state is TaskState.ASSIGNED and wish:
            held = item.generic_resources
            names = Counter(name.partition("=")[0] for name in held.named_generic)
            assert {kind: held.generic.get(kind, 0) + names[kind] for kind in wish} == wish
    planner.plan(view, NOW)
    fresh = NodeLoadIndex.from_view(view)
    assert {key: load.as_tuple() for key, load in fresh.loads.items()} == {
        key: load.as_tuple() for key, load in planner.index.loads.items()
    }
