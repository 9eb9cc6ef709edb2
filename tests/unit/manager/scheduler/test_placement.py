"""Placement: filters with their reasons, and the spread ranking."""

from collections import Counter

from covey.clock import MINUTE
from covey.objects import (
    Annotations,
    Driver,
    Endpoint,
    Network,
    NetworkAttachment,
    NetworkSpec,
    Placement,
    Platform,
    PortConfig,
    ResourceRequirements,
    Resources,
    replace,
)
from covey.objects.node import WireGuardDescription
from covey.states import NodeAvailability, NodeState, PublishMode, ServiceMode, TaskState
from manager.scheduler.planner import SchedulerPlanner
from tests.support.planning import NOW, applied, changed, in_state, node, service, task, view_of

THREE = [node("n1"), node("n2"), node("n3")]


def pending(of, number: int, **changes):
    return [task(of, slot, **({"state": TaskState.PENDING, "node_id": ""} | changes)) for slot in range(1, number + 1)]


def planner_for(view) -> SchedulerPlanner:
    planner = SchedulerPlanner()
    planner.reset(view)
    return planner


def scheduled(view):
    return applied(view, planner_for(view).plan(view, NOW))


def per_node(view, of: str = "web") -> Counter:
    return Counter(item.node_id for item in view.tasks.by_service(of) if item.status.state is TaskState.ASSIGNED)


def why(view, task_id: str = "web-1") -> str:
    item = view.tasks.get(task_id)
    assert item.status.state is TaskState.PENDING
    return item.status.error


def test_equal_tasks_are_spread_evenly() -> None:
    web = service()
    view = scheduled(view_of(*THREE, web, *pending(web, 7)))
    assert sorted(per_node(view).values()) == [2, 2, 3]
    assert not planner_for(view).plan(view, NOW).steps


def test_among_equal_nodes_those_that_have_the_image_come_first() -> None:
    web = service(image="app:1")
    view = view_of(*THREE, web, *pending(web, 2))
    planner = SchedulerPlanner(lambda image: {"n3"} if image == "app:1" else ())
    planner.reset(view)
    assert per_node(applied(view, planner.plan(view, NOW))) == {"n3": 1, "n1": 1}, "the spread decides before the image"


def test_nodes_with_fewer_tasks_of_the_service_come_first_then_those_with_fewer_tasks() -> None:
    web, other = service(), service("other")
    there = [task(web, 9), task(other, 8, node_id="n2"), task(other, 9, node_id="n2")]
    view = scheduled(view_of(*THREE, web, other, *there, *pending(web, 3)))
    assert per_node(view) == {"n1": 1, "n2": 1, "n3": 1}
    assert per_node(scheduled(view_of(*THREE, web, other, *there, *pending(web, 1)))) == {"n3": 1}


def test_no_task_goes_where_a_filter_refuses() -> None:
    web = service(placement=Placement(constraints=("node.labels.ok==yes",)))
    nodes = [
        node("fit", labels={"ok": "yes"}),
        node("unlabelled"),
        node("down", state=NodeState.DOWN, labels={"ok": "yes"}),
        node("away", state=NodeState.DISCONNECTED, labels={"ok": "yes"}),
        node("drained", availability=NodeAvailability.DRAIN, labels={"ok": "yes"}),
        node("paused", availability=NodeAvailability.PAUSE, labels={"ok": "yes"}),
    ]
    assert per_node(scheduled(view_of(*nodes, web, *pending(web, 5)))) == {"fit": 5}


def test_a_task_that_cannot_be_placed_says_which_filter_refused_how_many_nodes() -> None:
    small = node(
        "n4", labels={"ok": "yes"}, description=replace(THREE[0].description, resources=Resources(nano_cpus=1))
    )
    web = service(
        placement=Placement(constraints=("node.labels.ok==yes",)),
        resources=ResourceRequirements(reservations=Resources(nano_cpus=10**9)),
    )
    view = scheduled(view_of(*THREE, small, node("n5", state=NodeState.DOWN), web, *pending(web, 1)))
    assert why(view) == (
        "no suitable node (1 node not available for new tasks: 1 down; insufficient resources on 1 node: needs 1 CPU (most free 0); "
        "scheduling constraints not satisfied on 3 nodes: node.labels.ok==yes)"
    )
    assert not planner_for(view).plan(view, NOW).steps


def test_reservations_are_summed_until_a_node_is_full() -> None:
    web = service(resources=ResourceRequirements(reservations=Resources(memory_bytes=3 << 30)))
    view = scheduled(view_of(*THREE, web, *pending(web, 4)))
    assert per_node(view) == {"n1": 1, "n2": 1, "n3": 1}
    assert (
        why(view, "web-4") == "no suitable node (insufficient resources on 3 nodes: needs 3GiB memory (most free 1GiB))"
    )


def test_a_task_that_is_stopping_keeps_its_reservation_until_it_has_ended() -> None:
    web = service(resources=ResourceRequirements(reservations=Resources(memory_bytes=3 << 30)))
    stopping = task(web, 9, desired=TaskState.SHUTDOWN)
    view = view_of(node("n1"), web, stopping, *pending(web, 1))
    planner = planner_for(view)
    view = applied(view, planner.plan(view, NOW))
    assert why(view) == "no suitable node (insufficient resources on 1 node: needs 3GiB memory (most free 1GiB))"
    before = view.tasks.get("web-9")
    view = changed(view, in_state(before, TaskState.SHUTDOWN))
    planner.observe(before, view.tasks.get("web-9"))
    assert per_node(applied(view, planner.plan(view, NOW))) == {"n1": 1}


def test_the_maximum_of_replicas_per_node_is_kept() -> None:
    web = service(placement=Placement(max_replicas=1))
    view = scheduled(view_of(*THREE, web, *pending(web, 4)))
    assert sorted(per_node(view).values()) == [1, 1, 1]
    assert why(view, "web-4") == "no suitable node (max replicas per node limit exceed on 3 nodes: at most 1 a node)"


def test_host_mode_ports_are_used_once_a_node() -> None:
    port = PortConfig(target_port=80, published_port=8080, publish_mode=PublishMode.HOST)
    web = service()
    view = scheduled(view_of(*THREE, web, *pending(web, 4, endpoint=Endpoint(ports=(port,)))))
    assert sorted(per_node(view).values()) == [1, 1, 1]
    assert why(view, "web-4") == "no suitable node (host-mode port already in use on 3 nodes: 8080/tcp)"


def test_platforms_are_respected() -> None:
    web = service(placement=Placement(platforms=(Platform(architecture="arm64", os="linux"),)))
    arm = node("arm", description=replace(THREE[0].description, platform=Platform(architecture="aarch64", os="linux")))
    assert per_node(scheduled(view_of(*THREE, arm, web, *pending(web, 2)))) == {"arm": 2}


def test_tasks_on_an_encrypted_network_go_where_wireguard_is() -> None:
    spec = NetworkSpec(annotations=Annotations(name="sealed"), driver=Driver(name="overlay", options={"encrypted": ""}))
    sealed, plain = Network(id="sealed", spec=spec), Network(id="plain")
    able = replace(THREE[0].description, wireguard=WireGuardDescription(implementation="kernel", public_key="k"))
    web, other = service(), service("other")
    on_sealed = pending(
        web, 2, networks=(NetworkAttachment(network_id="plain"), NetworkAttachment(network_id="sealed"))
    )
    on_plain = pending(other, 1, networks=(NetworkAttachment(network_id="plain"),))
    without = view_of(sealed, plain, node("n1"), node("n2"), web, *on_sealed)
    planner = planner_for(without)
    view = applied(without, planner.plan(without, NOW))
    assert why(view) == "no suitable node (no WireGuard for encrypted networks on 2 nodes)"
    before = view.nodes.get("n2")
    view = changed(view, replace(before, description=able))
    planner.observe(before, view.nodes.get("n2"))
    assert per_node(applied(view, planner.plan(view, NOW))) == {"n2": 2}
    assert per_node(scheduled(view_of(sealed, plain, node("n1"), other, *on_plain)), "other") == {"n1": 1}


def test_preferences_spread_over_branches_first() -> None:
    web = service(placement=Placement(preferences=("node.labels.zone",)))
    nodes = [node(f"east{i}", labels={"zone": "east"}) for i in range(3)] + [node("west0", labels={"zone": "west"})]
    view = scheduled(view_of(*nodes, web, *pending(web, 6)))
    assert per_node(view)["west0"] == 3


def test_a_node_on_which_the_service_failed_repeatedly_comes_last() -> None:
    web = service()
    failures = [task(web, 20 + i, state=TaskState.FAILED, desired=TaskState.SHUTDOWN) for i in range(3)]
    view = view_of(node("n1"), node("n2"), web, task(web, 9, node_id="n2"), *failures, *pending(web, 1))
    assert per_node(scheduled(view)) == {"n2": 1}
    planner = planner_for(view)
    later = applied(view, planner.plan(view, NOW + 6 * MINUTE))
    assert per_node(later) == {"n1": 1}


def test_a_global_task_is_placed_on_its_own_node_or_nowhere() -> None:
    everywhere = service(mode=ServiceMode.GLOBAL)
    mine = task(everywhere, 0, state=TaskState.PENDING, node_id="n2")
    assert per_node(scheduled(view_of(*THREE, everywhere, mine))) == {"n2": 1}
    paused = node("n2", availability=NodeAvailability.PAUSE)
    view = scheduled(view_of(THREE[0], paused, everywhere, mine))
    assert why(view, "web-0") == "no suitable node (1 node not available for new tasks: 1 paused)"


def test_unplaced_tasks_are_placed_when_a_node_arrives() -> None:
    web = service()
    view = view_of(web, *pending(web, 2))
    planner = planner_for(view)
    view = applied(view, planner.plan(view, NOW))
    assert why(view) == "no suitable node (the cluster has none)"
    view = view_of(*view.services, *view.tasks, node("n1"))
    planner.observe(None, node("n1"))
    assert per_node(applied(view, planner.plan(view, NOW))) == {"n1": 2}


def test_an_invalid_stored_constraint_is_the_error_of_its_task_and_blocks_no_other() -> None:
    broken, web = service("broken", placement=Placement(constraints=("nonsense",))), service()
    view = scheduled(view_of(*THREE, broken, web, *pending(broken, 1), *pending(web, 1)))
    assert "nonsense" in why(view, "broken-1")
    assert per_node(view).total() == 1


def test_a_placement_requires_its_node_unchanged() -> None:
    web = service()
    view = view_of(node("n1"), web, *pending(web, 1))
    (step,) = planner_for(view).plan(view, NOW).steps
    assert view.nodes.get("n1") in step.preconditions
