"""A dry run says where tasks of a higher priority would run, and which tasks would end for them."""

from covey.objects import Placement, ResourceRequirements, Resources, ServiceSpec, replace
from manager.explain.dry_run import rehearse_change
from tests.support.planning import NOW, node, service, task, view_of

FULL = ResourceRequirements(reservations=Resources(nano_cpus=4 * 10**9))


def test_a_dry_run_names_the_tasks_that_would_end_and_ends_none() -> None:
    batch = service("batch", placement=Placement(priority=-1), resources=FULL, replicas=2)
    shop = service("shop", resources=FULL)
    view = view_of(node("n1"), node("n2"), batch, task(batch, 1), task(batch, 2, node_id="n2"))
    found = rehearse_change(view, shop, NOW)
    assert [(item.node_id, item.added) for item in found.nodes] == [("n1", 1)]
    assert found.explanation.notes == ("1 task of service batch would end for it",)
    assert not found.explanation.waiting
    unimportant = replace(shop, spec=_with_priority(shop.spec, -1))
    found = rehearse_change(view, unimportant, NOW)
    assert not found.nodes
    assert not found.explanation.notes
    assert found.explanation.waiting[0].cause == "placement"


def _with_priority(spec: ServiceSpec, priority: int) -> ServiceSpec:
    return replace(spec, task=replace(spec.task, placement=Placement(priority=priority)))
