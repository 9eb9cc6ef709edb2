"""A suggested change, made as its command makes it, places as many waiting tasks as was said; a rehearsed update keeps what is promised."""

import re
import shlex
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.explanation import Suggestion, WaitingTasks
from covey.objects import (
    Endpoint,
    Node,
    NodeDescription,
    Placement,
    PortConfig,
    ResourceRequirements,
    Resources,
    Service,
    Task,
    replace,
)
from covey.quantities import parse_bytes, parse_cpus
from covey.states import NodeAvailability, NodeState, PublishMode, TaskState
from manager.explain.dry_run import rehearse_change
from manager.explain.service import explain_service
from manager.scheduler.filters import all_refusals
from manager.scheduler.node_filters.resources import shortages
from manager.scheduler.node_load import NodeLoadIndex
from manager.scheduler.planner import SchedulerPlanner
from manager.scheduler.request import PlacementRequest
from manager.store.view import View
from tests.support.planning import NOW, applied, changed, node, removed, service, task, view_of

GIB = 1 << 30
PORT = PortConfig(target_port=80, published_port=8080, publish_mode=PublishMode.HOST)

nodes = st.builds(
    lambda state, availability, zone, cpus, memory, gpus: {
        "state": state,
        "availability": availability,
        "labels": {"zone": zone} if zone else {},
        "description": NodeDescription(
            resources=Resources(nano_cpus=cpus * 10**9, memory_bytes=memory, generic={"gpu": gpus})
        ),
    },
    st.sampled_from([NodeState.READY, NodeState.READY, NodeState.READY, NodeState.DOWN]),
    st.sampled_from([NodeAvailability.ACTIVE, NodeAvailability.ACTIVE, NodeAvailability.PAUSE, NodeAvailability.DRAIN]),
    st.sampled_from(["a", "b", ""]),
    st.integers(0, 4),
    st.integers(0, 4 * GIB),
    st.integers(0, 2),
)
services = st.builds(
    lambda constraints, bound, cpus, memory, gpus, port: (
        {
            "placement": Placement(constraints=constraints, max_replicas=bound),
            "resources": ResourceRequirements(
                reservations=Resources(
                    nano_cpus=cpus * 10**9, memory_bytes=memory, generic={"gpu": gpus} if gpus else {}
                )
            ),
        },
        Endpoint(ports=(PORT,)) if port else None,
    ),
    st.sampled_from(
        [(), ("node.labels.zone==a",), ("node.labels.zone != b",), ("node.labels.zone==a", "node.labels.ssd==yes")]
    ),
    st.integers(0, 2),
    st.integers(0, 3),
    st.sampled_from([0, 0, GIB, 3 * GIB + 1]),
    st.sampled_from([0, 0, 1]),
    st.booleans(),
)


@st.composite
def worlds(draw, most_services: int = 3) -> View:
    """A cluster in which the scheduler has placed what it can, and the rest waits."""
    hosts = [node(f"n{at}", **fields) for at, fields in enumerate(draw(st.lists(nodes, min_size=1, max_size=4)))]
    hosts = [
        replace(host, description=replace(host.description, hostname=f"host{at}")) for at, host in enumerate(hosts)
    ]
    wishes, tasks = [], []
    for at, (fields, endpoint) in enumerate(draw(st.lists(services, min_size=1, max_size=most_services))):
        count = draw(st.integers(0, 4))
        wish = replace(service(f"s{at}", replicas=count, **fields), endpoint=endpoint)
        wishes.append(wish)
        tasks += [
            task(wish, slot, state=TaskState.PENDING, node_id="", endpoint=endpoint) for slot in range(1, count + 1)
        ]
    order = draw(st.permutations(tasks))
    return scheduled(view_of(*hosts, *wishes, *order))


def scheduled(view: View) -> View:
    planner = SchedulerPlanner()
    planner.reset(view)
    return applied(view, planner.plan(view, NOW))


def running(view: View) -> View:
    """The placed tasks run."""
    placed = [item for item in view.tasks if item.status.state is TaskState.ASSIGNED]
    return changed(view, *[replace(item, status=replace(item.status, state=TaskState.RUNNING)) for item in placed])


def waiting(view: View, of: str) -> list[Task]:
    return [item for item in view.tasks.by_service(of) if item.status.state is TaskState.PENDING]


def unplaced(view: View, of: Service) -> list[WaitingTasks]:
    return [item for item in explain_service(view, of, NOW).waiting if item.cause == "placement"]


def after(view: View, of: Service, suggestion: Suggestion) -> View:
    """The cluster after the change, made by reading its command, or its text where there is no command."""
    words = shlex.split(suggestion.command)
    if words[:3] == ["covey", "node", "update"]:
        return changed(view, _node_after(view.nodes.find(words[-1]), words[3:-1]))
    if words[:3] == ["covey", "service", "update"]:
        assert words[-1] == of.id
        return changed(view, *[_task_after(item, words[3:-1]) for item in waiting(view, of.id)])
    if found := re.fullmatch(r"bring back the node (\S+), which is down", suggestion.text):
        host = view.nodes.find(found[1])
        return changed(view, replace(host, status=replace(host.status, state=NodeState.READY)))
    found = re.fullmatch(r"free host port 8080/tcp on node (\S+), held by service (\S+)", suggestion.text)
    assert found, suggestion
    host = view.nodes.find(found[1])
    return removed(view, *[item for item in view.tasks.by_node(host.id) if item.service_id == found[2]])


def _node_after(host: Node, flags: Sequence[str]) -> Node:
    spec, labels = host.spec, dict(host.spec.annotations.labels)
    for flag, value in zip(flags[::2], flags[1::2], strict=True):
        match flag:
            case "--availability":
                spec = replace(spec, availability=NodeAvailability[value.upper()])
            case "--label-add":
                labels |= dict([value.split("=")])
            case "--label-rm":
                del labels[value]
    return replace(host, spec=replace(spec, annotations=replace(spec.annotations, labels=labels)))


def _task_after(item: Task, flags: Sequence[str]) -> Task:
    placement, reserved = item.spec.placement, item.spec.resources.reservations
    for flag, value in zip(flags[::2], flags[1::2], strict=True):
        match flag:
            case "--constraint-rm":
                assert value in placement.constraints
                kept = tuple(text for text in placement.constraints if text != value)
                placement = replace(placement, constraints=kept)
            case "--replicas-max-per-node":
                placement = replace(placement, max_replicas=int(value))
            case "--reserve-memory":
                reserved = replace(reserved, memory_bytes=parse_bytes(value))
            case "--reserve-cpu":
                reserved = replace(reserved, nano_cpus=parse_cpus(value))
            case "--generic-resource-rm":
                reserved = replace(reserved, generic={})
            case _:
                raise AssertionError(flag)
    return replace(
        item, spec=replace(item.spec, placement=placement, resources=ResourceRequirements(reservations=reserved))
    )


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_a_suggested_change_places_as_many_tasks_as_it_says(view: View) -> None:
    for wish in view.services:
        for item in unplaced(view, wish):
            assert item.count == len(waiting(view, wish.id))
            assert sum(refusal.count for refusal in item.refusals) == len(view.nodes)
            for suggestion in item.suggestions:
                changed_view = scheduled(after(view, wish, suggestion))
                placed = item.count - len(waiting(changed_view, wish.id))
                assert placed == suggestion.places > 0, suggestion


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_what_waits_without_a_suggestion_names_the_nearest_nodes(view: View) -> None:
    for wish in view.services:
        for item in unplaced(view, wish):
            assert item.suggestions or item.near or "has none" in item.reason


@settings(max_examples=100, deadline=None)
@given(worlds(), st.integers(0, 6), st.booleans())
def test_a_rehearsal_breaks_no_limit_and_accounts_for_every_task(view: View, replicas: int, new_work: bool) -> None:
    wish = next(iter(view.services))
    view = running(view)
    spec = replace(wish.spec, replicas=replicas)
    if new_work:
        spec = replace(spec, task=replace(spec.task, force_update=1))
    found = rehearse_change(view, replace(view.services.get(wish.id), spec=spec), NOW)
    placed = sum(each.added + each.kept + each.old for each in found.nodes)
    assert placed + sum(item.count for item in found.explanation.waiting) == replicas
    assert not new_work or not sum(each.kept for each in found.nodes)
    bound = spec.task.placement.max_replicas
    loads = NodeLoadIndex.from_view(view).loads
    for each in found.nodes:
        host = view.nodes.get(each.node_id)
        runs = each.added + each.kept + each.old
        assert not each.added or (host.status.state, host.spec.availability) == (
            NodeState.READY,
            NodeAvailability.ACTIVE,
        )
        assert not bound or runs <= bound
        own = loads[each.node_id].active_by_service.get(wish.id, 0)
        memory = spec.task.resources.reservations.memory_bytes
        assert loads[each.node_id].memory_bytes + (runs - own) * memory <= max(
            host.description.resources.memory_bytes, loads[each.node_id].memory_bytes
        )


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_an_update_as_suggested_leaves_fewer_tasks_waiting(view: View) -> None:
    """The update replaces the running tasks, too, under the update policy."""
    view = running(view)
    for wish in view.services:
        for item in unplaced(view, wish):
            for suggestion in item.suggestions:
                words = shlex.split(suggestion.command)
                if words[:3] == ["covey", "service", "update"]:
                    spec = _task_after(waiting(view, wish.id)[0], words[3:-1]).spec
                    found = rehearse_change(view, replace(wish, spec=replace(wish.spec, task=spec)), NOW)
                    still = sum(each.count for each in found.explanation.waiting if each.cause == "placement")
                    assert still < item.count, suggestion


@settings(max_examples=150, deadline=None)
@given(worlds(most_services=1))
def test_where_one_condition_alone_refuses_a_node_a_change_is_suggested(view: View) -> None:
    """No other service's tasks take the room."""
    (wish,) = view.services
    index = NodeLoadIndex.from_view(view)
    for item in unplaced(view, wish):
        request = PlacementRequest.for_task(waiting(view, wish.id)[0], view.networks)
        texts = " ".join(suggestion.text for suggestion in item.suggestions)
        for load in index.existing_nodes():
            names = [refusing.name for refusing in all_refusals(request, load)]
            if names == ["resources"] and len(shortages(request.reserved, load)) == 1:
                assert re.search("lower the reserved|reserve no", texts)
            elif names == ["max replicas"]:
                assert "raise the maximum" in texts
            elif names == ["constraints"]:
                assert re.search("label|constraint", texts)
            elif names == ["availability"] and load.node.status.state is NodeState.READY:
                assert "activate the" in texts
