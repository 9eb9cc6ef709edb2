"""Invariants of preemption: minimal victims, nobody ends in vain, nothing is oversubscribed, and every world comes to rest."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.objects import NodeDescription, Placement, ResourceRequirements, Resources, Service, Task
from covey.states import TaskState
from covey.task_predicates import has_ended, priority_of, should_run
from manager.orchestrator.service_planner import plan_service
from manager.scheduler.planner import SchedulerPlanner
from manager.store.view import View
from tests.support.planning import NOW, Ids, applied, changed, in_state, node, service, task, view_of

CPU = 10**9
NODES = ("n1", "n2", "n3")


def of_priority(name: str, priority: int, cpus: int, replicas: int = 1, zone: str = "") -> Service:
    constraints = (f"node.labels.zone=={zone}",) if zone else ()
    return service(
        name,
        placement=Placement(priority=priority, constraints=constraints),
        resources=ResourceRequirements(reservations=Resources(nano_cpus=cpus * CPU)),
        replicas=replicas,
    )


def cpus_of(item: Task) -> int:
    return item.spec.resources.reservations.nano_cpus // CPU


def free(view: View, node_id: str) -> int:
    held = sum(cpus_of(item) for item in view.tasks.by_node(node_id) if not has_ended(item))
    return view.nodes.get(node_id).description.resources.nano_cpus // CPU - held


@st.composite
def full_clusters(draw) -> View:
    """Nodes with tasks of several priorities that fit them, and one task that is pending."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    labels = [draw(st.sampled_from(["a", "b"])) for _ in sizes]
    nodes = [
        node(
            f"n{at}",
            labels={"zone": labels[at]},
            description=NodeDescription(resources=Resources(nano_cpus=size * CPU)),
        )
        for at, size in enumerate(sizes)
    ]
    kinds = [of_priority(f"s{at}", draw(st.integers(-1, 2)), draw(st.integers(1, 3))) for at in range(4)]
    tasks: list[Task] = []
    for at, size in enumerate(sizes):
        room = size
        for kind in draw(st.lists(st.sampled_from(kinds), max_size=6)):
            wanted = kind.spec.task.resources.reservations.nano_cpus // CPU
            if wanted <= room:
                room -= wanted
                desired = draw(st.sampled_from([TaskState.RUNNING, TaskState.RUNNING, TaskState.SHUTDOWN]))
                tasks.append(task(kind, len(tasks) + 1, node_id=f"n{at}", desired=desired))
    new = of_priority("new", draw(st.integers(-1, 2)), draw(st.integers(1, 6)), zone=draw(st.sampled_from(["", "a"])))
    return view_of(*nodes, *kinds, new, *tasks, task(new, 0, state=TaskState.PENDING, node_id=""))


def feasible_sets(view: View, node_id: str, new: Task) -> list[tuple[Task, ...]]:
    """All sets of tasks of lower priority whose end, with that of tasks that end anyway, gives room for the new one."""
    here = [item for item in view.tasks.by_node(node_id) if not has_ended(item)]
    ending = sum(cpus_of(item) for item in here if not should_run(item))
    lower = [item for item in here if should_run(item) and priority_of(item) < priority_of(new)]
    lacking = cpus_of(new) - free(view, node_id) - ending
    sets = [chosen for size in range(len(lower) + 1) for chosen in combinations(lower, size)]
    return [chosen for chosen in sets if sum(map(cpus_of, chosen)) >= lacking]


@settings(max_examples=200, deadline=None)
@given(full_clusters())
def test_the_victims_are_what_a_search_over_all_sets_finds(view: View) -> None:
    planner = SchedulerPlanner()
    planner.reset(view)
    after = applied(view, planner.plan(view, NOW))
    new = view.tasks.get("new-0")
    victims = [item for item in view.tasks if should_run(item) and not should_run(after.tasks.get(item.id))]
    open_nodes = [
        each.id
        for each in view.nodes
        if not new.spec.placement.constraints or each.spec.annotations.labels["zone"] == "a"
    ]
    if after.tasks.get(new.id).node_id:
        assert not victims
        return
    found = {each: feasible_sets(view, each, new) for each in open_nodes}
    if not any(found.values()) or any(() in sets for sets in found.values()):
        assert not victims, "in vain, or there will be room without it"
        return
    (where,) = {item.node_id for item in victims}
    assert tuple(victims) in found[where], "the room is enough"
    assert not any(len(chosen) < len(victims) and set(chosen) < set(victims) for chosen in found[where]), (
        "none is spared"
    )
    least = min(max(map(priority_of, chosen)) for sets in found.values() for chosen in sets)
    assert max(map(priority_of, victims)) == least, "the least important ones"
    assert all(priority_of(item) < priority_of(new) for item in victims)


class World:
    """Orchestrator, scheduler and agents of one cluster; the leader may change at any step."""

    def __init__(self, view: View) -> None:
        self.view, self.ids = view, Ids("t")
        self.elect()

    def elect(self) -> None:
        self.planner = SchedulerPlanner()
        self.planner.reset(self.view)

    def commit(self, view: View) -> None:
        before, self.view = self.view, view
        for item in view.tasks:
            old = before.tasks.get(item.id)
            if old is not item:
                self.planner.observe(old, item)
        self.require_no_oversubscription()

    def require_no_oversubscription(self) -> None:
        assert all(free(self.view, each.id) >= 0 for each in self.view.nodes)

    def manage(self) -> bool:
        """One pass of all loops. Returns whether anything changed."""
        before = self.view.version
        for each in self.view.services:
            self.commit(applied(self.view, plan_service(self.view, each.id, NOW, self.ids)))
        for item in self.view.tasks:
            if item.status.state is TaskState.NEW:
                self.commit(changed(self.view, in_state(item, TaskState.PENDING)))
        self.commit(applied(self.view, self.planner.plan(self.view, NOW)))
        return self.view.version != before

    def agents(self, choose) -> bool:
        """One task comes up, or one that was told to end has ended."""
        starting = [item for item in self.view.tasks if item.status.state is TaskState.ASSIGNED and should_run(item)]
        ending = [item for item in self.view.tasks if item.node_id and not should_run(item) and not has_ended(item)]
        if not starting and not ending:
            return False
        item = choose([*starting, *ending])
        ended = TaskState.REJECTED if item.end_reason else TaskState.SHUTDOWN
        self.commit(changed(self.view, in_state(item, TaskState.RUNNING if item in starting else ended)))
        return True


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(-1, 2), st.integers(1, 3), st.integers(1, 4)), min_size=2, max_size=4),
    st.data(),
)
def test_every_world_comes_to_rest_without_an_inversion(sizes: list[int], kinds: list, data: st.DataObject) -> None:
    """Services are created one after another, agents report in any order, the leader changes: nothing is ever oversubscribed, and in
    the end nobody waits whose place a less important task has.
    """
    nodes = [
        node(f"n{at}", description=NodeDescription(resources=Resources(nano_cpus=size * CPU)))
        for at, size in enumerate(sizes)
    ]
    world = World(view_of(*nodes))
    for at, (priority, cpus, replicas) in enumerate(kinds):
        new = of_priority(f"s{at}", priority, cpus, replicas)
        world.commit(view_of(*world.view.nodes, *world.view.services, *world.view.tasks, new))
        world.planner.observe(None, new)
        for _ in range(data.draw(st.integers(0, 6))):
            world.manage()
            world.agents(lambda items: data.draw(st.sampled_from(items)))
        if data.draw(st.booleans()):
            world.elect()
    for _ in range(400):
        if not world.manage() and not world.agents(lambda items: items[0]):
            break
    else:
        raise AssertionError("the cluster never comes to rest")
    for item in world.view.tasks:
        if item.status.state is TaskState.PENDING and should_run(item):
            assert not any(feasible_sets(world.view, each.id, item) for each in world.view.nodes), item.id
    for each in world.view.services:
        running = [item for item in world.view.tasks.by_service(each.id) if should_run(item)]
        assert len(running) == each.spec.replicas
    assert not [item for item in world.view.tasks if item.preempted and item.status.state is TaskState.RUNNING]
