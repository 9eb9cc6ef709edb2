"""Priorities: who is placed first, who ends for whom, and that nobody ends in vain."""

from __future__ import annotations

from covey.objects import Affinity, Placement, ResourceRequirements, Resources, Service, Task, replace
from covey.states import NodeAvailability, ServiceMode, TaskState
from covey.task_predicates import should_run
from manager.scheduler.planner import SchedulerPlanner
from manager.store.view import View
from tests.support.planning import NOW, applied, changed, decide, in_state, node, service, task, view_of

CPU = 10**9


def of_priority(name: str, priority: int, cpus: int = 1, **changes) -> Service:
    placement = changes.pop("placement", Placement())
    reserved = ResourceRequirements(reservations=Resources(nano_cpus=cpus * CPU))
    return service(name, placement=replace(placement, priority=priority), resources=reserved, **changes)


def pending(of: Service, *slots: int, **changes) -> list[Task]:
    return [task(of, slot, **({"state": TaskState.PENDING, "node_id": ""} | changes)) for slot in slots or (1,)]


class World:
    """A view with its scheduler, which sees every change."""

    def __init__(self, *objects) -> None:
        self.view: View = view_of(*objects)
        self.planner = SchedulerPlanner()
        self.planner.reset(self.view)

    def schedule(self, passes: int = 4) -> None:
        for _ in range(passes):
            plan = self.planner.plan(self.view, NOW)
            self.view = applied(self.view, plan)
            for step in plan.steps:
                for item in step.items():
                    self.planner.observe(None, item)
        assert not self.planner.plan(self.view, NOW).steps

    def add(self, *tasks: Task) -> None:
        self.view = view_of(*self.view.nodes, *self.view.services, *self.view.tasks, *tasks)
        for item in tasks:
            self.planner.observe(None, item)

    def end(self, task_id: str) -> None:
        before = self.view.tasks.get(task_id)
        self.view = changed(self.view, in_state(before, TaskState.REJECTED))
        self.planner.observe(before, self.view.tasks.get(task_id))

    def ended(self) -> set[str]:
        return {item.id for item in self.view.tasks if not should_run(item)}

    def on(self, task_id: str) -> str:
        return self.view.tasks.get(task_id).node_id

    def error(self, task_id: str) -> str:
        return self.view.tasks.get(task_id).status.error


def full(of: Service, *nodes: str) -> list[Task]:
    """Running tasks, as many as fill the nodes of 4 CPUs."""
    size = of.spec.task.resources.reservations.nano_cpus // CPU
    names = [name for name in nodes for _ in range(4 // size)]
    return [task(of, slot, node_id=name) for slot, name in enumerate(names, start=1)]


def test_a_more_important_task_ends_a_less_important_one_and_follows_it() -> None:
    low, high = of_priority("low", 0), of_priority("high", 10)
    world = World(node("n1"), low, high, *full(low, "n1"), *pending(high))
    world.schedule()
    (victim,) = world.ended()
    gone = world.view.tasks.get(victim)
    assert gone.end_reason == "preempted by high.1, whose priority 10 is higher than 0"
    assert gone.preempted
    assert world.on("high-1") == "", "the victim holds its resources until it has ended"
    assert world.error("high-1") == "waiting until tasks on node host-n1 have ended"
    world.end(victim)
    world.schedule()
    assert world.on("high-1") == "n1"


def test_equal_and_more_important_tasks_are_never_ended() -> None:
    low, same = of_priority("low", 5), of_priority("same", 5)
    world = World(node("n1"), low, same, *full(low, "n1"), *pending(same))
    world.schedule()
    assert not world.ended()
    assert "insufficient resources" in world.error("same-1")


def test_nobody_ends_for_a_task_that_another_filter_refuses() -> None:
    low = of_priority("low", 0)
    for placement in (
        Placement(constraints=("node.labels.a==b",)),
        Placement(affinities=(Affinity(service="other"),)),
        Placement(affinities=(Affinity(service="low", apart=True),)),
        Placement(affinities=(Affinity(service="low"),)),  # the victims are those that it must be near
    ):
        high = of_priority("high", 10, placement=placement)
        world = World(node("n1"), low, high, *full(low, "n1"), *pending(high))
        world.schedule()
        assert not world.ended(), placement
    world = World(
        node("n1", availability=NodeAvailability.PAUSE), low, *full(low, "n1"), *pending(of_priority("high", 1))
    )
    world.schedule()
    assert not world.ended()


def test_nobody_ends_if_the_room_is_too_small_all_the_same() -> None:
    low, same, high = of_priority("low", 0), of_priority("same", 10, 2), of_priority("high", 10, 3)
    world = World(node("n1"), low, same, high, task(same, 1), task(low, 1), task(low, 2), *pending(high))
    world.schedule()
    assert not world.ended()


def test_the_least_important_and_the_fewest_end() -> None:
    batch, low, wide = of_priority("batch", -5), of_priority("low", 0), of_priority("wide", 0, 2)
    high = of_priority("high", 10, 2)
    objects = [node("n1"), node("n2"), batch, low, wide, high]
    mixed = [task(low, 1), task(low, 2), task(wide, 1), *full(low, "n2")[:0]]
    on_two = [task(low, 8, node_id="n2"), task(low, 9, node_id="n2"), task(high, 9, node_id="n2")]
    world = World(*objects, *mixed, *on_two, *pending(high))
    world.schedule()
    assert world.ended() == {"wide-1"}, "one task instead of two"
    on_two[0] = task(batch, 8, node_id="n2")
    on_two[1] = task(batch, 9, node_id="n2")
    world = World(*objects, *mixed, *on_two, *pending(high))
    world.schedule()
    assert world.ended() == {"batch-8", "batch-9"}, "less important ones, though more of them"


def test_no_second_task_ends_while_one_ends_already() -> None:
    low, high = of_priority("low", 0), of_priority("high", 10)
    world = World(node("n1"), node("n2"), low, high, *full(low, "n1", "n2"), *pending(high, 1, 2))
    world.schedule()
    assert len(world.ended()) == 2
    again = World(*world.view.nodes, *world.view.services, *world.view.tasks)  # a new leader
    again.schedule()
    assert again.ended() == world.ended()


def test_the_room_is_kept_from_less_important_tasks_until_all_victims_have_ended() -> None:
    """Two tasks of 2 CPUs end for one of 4. The first one's successor would fit where it was."""
    low, high = of_priority("low", 0, 2), of_priority("high", 10, 4)
    world = World(node("n1"), low, high, *full(low, "n1"), *pending(high))
    world.schedule()
    assert world.ended() == {"low-1", "low-2"}
    world.end("low-1")
    world.add(*pending(low, 7, preempted=True))
    world.schedule()
    assert world.on("low-7") == ""
    world.end("low-2")
    world.schedule()
    assert world.on("high-1") == "n1"
    assert world.on("low-7") == ""


def test_a_still_more_important_task_takes_the_promised_room() -> None:
    low, high, top = of_priority("low", 0, 4), of_priority("high", 10, 4), of_priority("top", 20, 4)
    world = World(node("n1"), low, high, top, *full(low, "n1"), *pending(high))
    world.schedule()
    world.add(*pending(top))
    world.schedule()
    world.end("low-1")
    world.schedule()
    assert world.on("top-1") == "n1"
    assert world.on("high-1") == ""
    assert "insufficient resources" in world.error("high-1")


def test_the_more_important_are_placed_first_and_among_equals_those_that_were_preempted() -> None:
    low, other, high = of_priority("low", 0), of_priority("a-other", 0), of_priority("high", 10)
    waiting = [*pending(other, 1), *pending(low, 1, preempted=True), *pending(high, 1)]
    small = node("n1", description=replace(node("n1").description, resources=Resources(nano_cpus=2 * CPU)))
    world = World(small, low, other, high, *waiting)
    world.schedule()
    assert world.on("high-1") == world.on("low-1") == "n1"
    assert world.on("a-other-1") == ""
    assert not world.view.tasks.get("low-1").preempted


def test_a_global_task_ends_others_on_its_own_node_only() -> None:
    low, agent = of_priority("low", 0), of_priority("agent", 10, mode=ServiceMode.GLOBAL)
    world = World(node("n1"), node("n2"), low, agent, *full(low, "n1", "n2"), *pending(agent, 0, node_id="n2"))
    world.schedule()
    (victim,) = world.ended()
    assert world.on(victim) == "n2"


def test_host_ports_and_generic_resources_are_room_too() -> None:
    gpu = replace(node("n1"), description=replace(node("n1").description, resources=Resources(generic={"gpu": 1})))
    wish = ResourceRequirements(reservations=Resources(generic={"gpu": 1}))
    low = service("low", placement=Placement(priority=-1), resources=wish)
    high = service("high", resources=wish)
    held = Resources(generic={"gpu": 1})
    world = World(gpu, low, high, task(low, 1, generic_resources=held), *pending(high))
    world.schedule()
    assert world.ended() == {"low-1"}
    world.end("low-1")
    world.schedule()
    assert world.view.tasks.get("high-1").generic_resources == held


def test_the_successor_of_a_preempted_task_is_known_by_the_orchestrator_and_is_no_restart() -> None:
    web = service("web", replicas=1)
    victim = task(web, 1, desired=TaskState.SHUTDOWN, end_reason="preempted by x", preempted=True)
    (step,) = decide(view_of(node("n1"), web, victim)).steps
    (successor,) = step.creates
    assert successor.preempted
    assert successor.slot == 1
    assert successor.restarts == 0
    placed = replace(in_state(successor, TaskState.FAILED), preempted=False, node_id="n1", id="z")
    ended = in_state(victim, TaskState.REJECTED)
    steps = decide(view_of(node("n1"), web, ended, placed), now_ns=NOW + 10**12).steps
    assert not [item for step in steps for item in step.creates if item.preempted]
