"""Dry runs: the placement that a change of a service leads to, as the leader's planners would make it."""

import pytest

from covey.explanation import ServiceDryRun
from covey.objects import (
    IPAM,
    Annotations,
    IPAMConfig,
    JobStatus,
    Network,
    NetworkSpec,
    Placement,
    ResourceRequirements,
    Resources,
    Service,
    ServiceDependency,
    UpdateConfig,
    replace,
)
from covey.objects.job_schedule import JobSchedule
from covey.states import NodeAvailability, ServiceMode, TaskState, UpdateOrder
from manager.explain.dry_run import rehearse_change
from manager.store.view import View
from tests.support.planning import NOW, node, service, task, view_of

HALF = ResourceRequirements(reservations=Resources(memory_bytes=2 << 30))


def tried(view: View, wish: Service, **spec: object) -> ServiceDryRun:
    """The dry run of the service with these fields of its spec changed."""
    stored = view.services.get(wish.id) or wish
    return rehearse_change(view, replace(stored, spec=replace(stored.spec, **spec)), NOW)


def placement(found: ServiceDryRun) -> dict[str, tuple[int, int, int]]:
    """Added, kept and old tasks by node."""
    return {each.node_id: (each.added, each.kept, each.old) for each in found.nodes}


def forced(wish: Service):
    return replace(wish.spec.task, force_update=1)


def test_a_new_service_is_spread_and_what_finds_no_node_waits_with_the_reason() -> None:
    view = view_of(node("n1"), node("n2"), node("n3", availability=NodeAvailability.DRAIN))
    found = tried(view, service(replicas=5, resources=HALF))
    assert placement(found) == {"n1": (2, 0, 0), "n2": (2, 0, 0)}
    (item,) = found.explanation.waiting
    assert (item.cause, item.count) == ("placement", 1)
    assert "activate the drained node host-n3" in [each.text for each in item.suggestions]
    assert found.before is None


@pytest.mark.parametrize(
    ("order", "nodes", "waiting"),
    [(UpdateOrder.STOP_FIRST, {"n1": (2, 0, 0)}, 0), (UpdateOrder.START_FIRST, {"n1": (0, 0, 2)}, 1)],
)
def test_an_update_that_starts_first_gets_stuck_where_there_is_no_room_for_both(order, nodes, waiting: int) -> None:
    web = service(replicas=2, resources=HALF, update=UpdateConfig(order=order))
    view = view_of(node("n1"), web, task(web, 1), task(web, 2))
    found = tried(view, web, task=forced(web))
    assert placement(found) == nodes
    assert sum(item.count for item in found.explanation.waiting) == waiting


def test_tasks_whose_node_meets_another_placement_are_kept() -> None:
    web = service(replicas=2)
    view = view_of(node("n1", labels={"zone": "a"}), node("n2"), web, task(web, 1), task(web, 2, node_id="n2"))
    found = tried(view, web, task=replace(web.spec.task, placement=Placement(constraints=("node.labels.zone==a",))))
    assert placement(found) == {"n1": (1, 1, 0)}


def test_scaling_keeps_what_runs() -> None:
    web = service(replicas=2)
    view = view_of(node("n1"), node("n2"), web, task(web, 1), task(web, 2, node_id="n2"))
    assert placement(tried(view, web, replicas=1)) == {"n1": (0, 1, 0)}
    assert placement(tried(view, web, replicas=4)) == {"n1": (1, 1, 0), "n2": (1, 1, 0)}
    assert placement(tried(view, web, replicas=0)) == {}


def test_a_global_service_has_a_task_on_each_node_that_takes_part() -> None:
    hosts = [node("n1"), node("n2"), node("n3", availability=NodeAvailability.PAUSE)]
    found = tried(view_of(*hosts), service(mode=ServiceMode.GLOBAL))
    assert placement(found) == {"n1": (1, 0, 0), "n2": (1, 0, 0)}


def test_a_job_is_shown_with_the_tasks_that_run_at_the_same_time() -> None:
    job = service(mode=ServiceMode.REPLICATED_JOB, max_concurrent=2, total_completions=9)
    job = replace(job, job_status=JobStatus(last_execution_ns=NOW))
    assert placement(tried(view_of(node("n1"), node("n2")), job)) == {"n1": (1, 0, 0), "n2": (1, 0, 0)}
    daily = replace(job, job_status=JobStatus(), spec=replace(job.spec, schedule=JobSchedule(expression="0 0 * * *")))
    assert placement(tried(view_of(node("n1"), node("n2")), daily)) == {"n1": (1, 0, 0), "n2": (1, 0, 0)}


def test_tasks_that_would_wait_for_a_dependency_or_an_address_say_so() -> None:
    web = service(depends_on=(ServiceDependency(service="db"),))
    (item,) = tried(view_of(node("n1")), web).explanation.waiting
    assert (item.cause, item.reason) == ("dependency", "waiting for db to exist")
    spec = NetworkSpec(annotations=Annotations(name="tiny"), ipam=IPAM(configs=(IPAMConfig(subnet="10.9.0.0/29"),)))
    view = view_of(node("n1"), Network(id="tiny", spec=spec))
    found = tried(view, service(replicas=9, networks=("tiny",)))
    (item,) = found.explanation.waiting
    assert item.cause == "network"
    assert "tiny" in item.reason
    assert item.count + placement(found)["n1"][0] == 9


def test_tasks_of_lower_priority_that_would_end_are_told() -> None:
    low = service("low", replicas=2, resources=HALF)
    view = view_of(node("n1"), low, task(low, 1), task(low, 2))
    found = tried(view, service("high", replicas=1, resources=HALF, placement=Placement(priority=10)))
    assert placement(found) == {"n1": (1, 0, 0)}
    assert found.explanation.notes == ("1 task of service low would end for it",)


def test_a_large_update_settles_in_few_passes() -> None:
    web = service(replicas=400, update=UpdateConfig(parallelism=1, delay_ns=3600 * 10**9))
    hosts = [node(f"n{at}") for at in range(10)]
    view = view_of(*hosts, web, *[task(web, at, node_id=f"n{at % 10}") for at in range(1, 401)])
    found = tried(view, web, task=forced(web))
    assert sum(each.added for each in found.nodes) == 400
    assert not found.explanation.notes
    assert not found.explanation.waiting


def test_what_was_running_before_stays_in_the_cluster() -> None:
    """A rehearsal changes nothing but its own view."""
    web = service(replicas=1)
    view = view_of(node("n1"), web, task(web, 1))
    tried(view, web, task=forced(web))
    assert [item.status.state for item in view.tasks] == [TaskState.RUNNING]
