"""Why tasks wait: the filters' refusals, the single changes that help, and what else a task waits for."""

import pytest

from covey.clock import SECOND
from covey.explanation import WaitingTasks
from covey.objects import (
    Endpoint,
    Placement,
    PortConfig,
    ResourceRequirements,
    Resources,
    RestartPolicy,
    UpdateStatus,
    replace,
)
from covey.objects.rollout import RolloutOptions
from covey.states import NodeAvailability, NodeState, PublishMode, ServiceMode, TaskState, UpdateState
from manager.explain.service import explain_service
from tests.support.planning import NOW, node, service, task, view_of

PORT = PortConfig(target_port=80, published_port=8080, publish_mode=PublishMode.HOST)
MEMORY = ResourceRequirements(reservations=Resources(memory_bytes=3 << 30))


def pending(of, *slots: int, **changes):
    return [task(of, slot, **({"state": TaskState.PENDING, "node_id": ""} | changes)) for slot in slots or (1,)]


def explained(of, *objects) -> tuple[WaitingTasks, ...]:
    return explain_service(view_of(of, *objects), of, NOW).waiting


def texts(item: WaitingTasks) -> list[str]:
    return [suggestion.text for suggestion in item.suggestions]


def test_each_filter_says_how_many_nodes_it_refused_and_which() -> None:
    web = service(placement=Placement(constraints=("node.labels.zone==a",)), resources=MEMORY)
    full = task(service("other", resources=MEMORY), 1, node_id="n1")
    nodes = [node("n1", labels={"zone": "a"}), node("n2"), node("n3", availability=NodeAvailability.DRAIN)]
    (item,) = explained(web, *nodes, full, *pending(web, 1, 2))
    assert (item.cause, item.count, item.tasks) == ("placement", 2, ("web.1", "web.2"))
    assert [(refusal.sentence, refusal.detail, refusal.nodes) for refusal in item.refusals] == [
        ("1 node not available for new tasks", "1 drained", ("host-n3",)),
        ("insufficient resources on 1 node", "needs 3GiB memory (most free 1GiB)", ("host-n1",)),
        ("scheduling constraints not satisfied on 1 node", "node.labels.zone==a", ("host-n2",)),
    ]
    assert item.reason == (
        "no suitable node (1 node not available for new tasks: 1 drained; insufficient resources on 1 node: "
        "needs 3GiB memory (most free 1GiB); scheduling constraints not satisfied on 1 node: node.labels.zone==a)"
    )
    assert [(each.text, each.places) for each in item.suggestions] == [
        ("lower the reserved memory to 1GiB", 1),
        ("add the label zone=a to node host-n2", 1),
        ("remove the constraint node.labels.zone==a", 1),
    ]


@pytest.mark.parametrize(
    ("host", "spec", "text", "command"),
    [
        (
            {"availability": NodeAvailability.PAUSE},
            {},
            "activate the paused node host-n1",
            "covey node update --availability active host-n1",
        ),
        ({"state": NodeState.DOWN}, {}, "bring back the node host-n1, which is down", ""),
        (
            {},
            {"resources": ResourceRequirements(reservations=Resources(nano_cpus=9 * 10**9))},
            "lower the reserved CPUs to 4",
            "covey service update --reserve-cpu 4 web",
        ),
        (
            {},
            {"resources": ResourceRequirements(reservations=Resources(generic={"gpu": 1}))},
            "reserve no gpu",
            "covey service update --generic-resource-rm gpu web",
        ),
        (
            {"labels": {"zone": "b"}},
            {"placement": Placement(constraints=("node.labels.zone!=b",))},
            "remove the label zone from node host-n1",
            "covey node update --label-rm zone host-n1",
        ),
        (
            {},
            {"placement": Placement(constraints=("node.role == manager",))},
            "remove the constraint node.role == manager",
            "covey service update --constraint-rm 'node.role == manager' web",
        ),
    ],
)
def test_the_single_change_that_helps_is_named_with_its_command(host, spec, text: str, command: str) -> None:
    web = service(**spec)
    (item,) = explained(web, node("n1", **host), *pending(web))
    assert (text, command) in [(each.text, each.command) for each in item.suggestions]


def test_a_higher_maximum_of_replicas_places_as_many_as_there_are_nodes() -> None:
    web = service(placement=Placement(max_replicas=1))
    running = [task(web, 8, node_id="n1"), task(web, 9, node_id="n2")]
    (item,) = explained(web, node("n1"), node("n2"), *running, *pending(web, 1, 2, 3))
    (change,) = item.suggestions
    assert (change.text, change.places) == ("raise the maximum of replicas per node to 2", 2)
    assert change.command == "covey service update --replicas-max-per-node 2 web"


def test_the_service_that_holds_a_host_port_is_named() -> None:
    web, other = service(), service("other")
    held = task(other, 1, endpoint=Endpoint(ports=(PORT,)))
    (item,) = explained(web, node("n1"), other, held, *pending(web, endpoint=Endpoint(ports=(PORT,))))
    assert texts(item) == ["free host port 8080/tcp on node host-n1, held by service other"]
    own = task(web, 9, endpoint=Endpoint(ports=(PORT,)))
    (item,) = explained(web, node("n1"), own, *pending(web, endpoint=Endpoint(ports=(PORT,))))
    assert not item.suggestions, "a service is not told to end its own task"


def test_where_no_single_change_helps_the_nearest_nodes_say_what_they_lack() -> None:
    web = service(placement=Placement(constraints=("node.labels.zone==a",)), resources=MEMORY)
    small = replace(node("n1").description, resources=Resources(memory_bytes=1 << 30))
    (item,) = explained(web, node("n1", description=small), *pending(web))
    assert not item.suggestions
    assert item.near == ("host-n1: resources (needs 3GiB memory (most free 1GiB)), constraints (node.labels.zone==a)",)


def test_a_change_whose_room_another_task_takes_first_is_not_suggested() -> None:
    """An older task of another service waits for the same node."""
    first, web = service("first", resources=MEMORY), service(resources=MEMORY)
    paused = node("n1", availability=NodeAvailability.PAUSE)
    older = pending(first)[0]
    view = view_of(first, web, paused, older, *pending(web))
    assert texts(explain_service(view, first, NOW).waiting[0]) == ["activate the paused node host-n1"]
    assert not texts(explain_service(view, web, NOW).waiting[0])


def test_a_global_service_without_an_eligible_node_says_so() -> None:
    web = service(mode=ServiceMode.GLOBAL, placement=Placement(constraints=("node.labels.zone==a",)))
    (item,) = explained(web, node("n1"))
    assert (item.cause, item.count) == ("nodes", 0)
    assert texts(item)[0] == "add the label zone=a to node host-n1"


def test_a_running_service_waits_for_nothing() -> None:
    web = service()
    found = explain_service(view_of(web, node("n1"), task(web, 1)), web, NOW)
    assert (found.waiting, found.notes, found.running, found.desired) == ((), (), 1, 1)


def test_a_stopped_service_says_how_it_is_started() -> None:
    web = service()
    stopped = replace(web, spec=replace(web.spec, rollout=RolloutOptions(stopped=True)))
    found = explain_service(view_of(stopped, node("n1")), stopped, NOW)
    assert found.notes == ("the service is stopped; start it with: covey service start web",)


def test_what_else_tasks_wait_for_is_named() -> None:
    web = service(restart=RestartPolicy(delay_ns=5 * SECOND))
    waits = task(web, 1, state=TaskState.PENDING, desired=TaskState.PENDING, node_id="")
    waits = replace(waits, status=replace(waits.status, error="waiting for db to start (0 of 1 tasks)"))
    new = task(web, 2, state=TaskState.NEW, node_id="")
    new = replace(new, status=replace(new.status, error="network net has no free address"))
    ended = task(web, 3, state=TaskState.REJECTED, desired=TaskState.SHUTDOWN, id="a")
    ended = replace(ended, status=replace(ended.status, error="No such image: nope:1"))
    delayed = task(web, 3, state=TaskState.READY, desired=TaskState.READY, start_after_ns=NOW + 5 * SECOND, id="b")
    stopping = task(web, 4, desired=TaskState.SHUTDOWN, id="c")
    successor = task(web, 4, state=TaskState.READY, desired=TaskState.READY, id="d")
    pulling = task(web, 5, state=TaskState.PREPARING, node_id="n1")
    items = explained(web, node("n1"), waits, new, ended, delayed, stopping, successor, pulling)
    assert [(item.cause, item.reason) for item in items] == [
        ("dependency", "waiting for db to start (0 of 1 tasks)"),
        ("network", "network net has no free address"),
        (
            "restart",
            "its restart is delayed by another 5s; the last one was rejected on node host-n1: No such image: nope:1",
        ),
        ("predecessor", "waits until the task before it has stopped on node host-n1"),
        ("start", "preparing on node host-n1"),
    ]


def test_a_slot_without_further_attempts_and_a_paused_update_are_named() -> None:
    status = UpdateStatus(
        state=UpdateState.PAUSED, message="update paused due to failure or early termination of task x"
    )
    web = replace(service(restart=RestartPolicy(delay_ns=0, max_attempts=1)), update_status=status)
    failed = task(web, 1, state=TaskState.FAILED, desired=TaskState.SHUTDOWN, restarts=1)
    failed = replace(failed, status=replace(failed.status, error="task: non-zero exit (1)"))
    found = explain_service(view_of(web, node("n1"), failed), web, NOW)
    assert [(item.cause, item.reason) for item in found.waiting] == [
        (
            "ended",
            "its restart policy allows no further attempt; the last one failed on node host-n1: task: non-zero exit (1)",
        )
    ]
    assert found.notes == (status.message,)
