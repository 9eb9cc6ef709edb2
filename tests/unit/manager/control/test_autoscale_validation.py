"""Labels of autoscaling when a service is stored: what is refused, and the replicas within the bounds."""

from __future__ import annotations

import pytest

from covey.errors import CoveyError
from covey.objects import Annotations, ContainerSpec, ResourceRequirements, Resources, Service, ServiceSpec, TaskSpec
from covey.states import ServiceMode
from manager.control.services import create_service, update_service
from manager.store.view import View
from tests.support.planning import NOW, Ids, execute

RESERVED = ResourceRequirements(reservations=Resources(nano_cpus=10**9, memory_bytes=1 << 30))


def spec(
    replicas: int = 1,
    mode: ServiceMode = ServiceMode.REPLICATED,
    resources: ResourceRequirements | None = RESERVED,
    **labels: str,
) -> ServiceSpec:
    names = {f"covey.autoscale.{key.replace('__', '.')}": value for key, value in labels.items()}
    return ServiceSpec(
        annotations=Annotations(name="web", labels=names),
        task=TaskSpec(container=ContainerSpec(image="one"), resources=resources),
        mode=mode,
        replicas=replicas,
    )


def created(given: ServiceSpec) -> View:
    return execute(View.empty(), [lambda tx: create_service(tx, given, Ids(), NOW)], NOW)


def stored(view: View) -> Service:
    found = view.services.by_name("web")
    assert found is not None
    return found


def updated(view: View, given: ServiceSpec) -> View:
    version = stored(view).meta.version
    return execute(view, [lambda tx: update_service(tx, "web", version, given, NOW)], NOW)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (spec(min="5", max="2", cpu="50"), "label covey.autoscale.min: 5 is more than the 2 of covey.autoscale.max"),
        (spec(min="2", cpu="50"), "label covey.autoscale.max: it is missing"),
        (spec(max="2"), "label covey.autoscale.max: there is no target"),
        (spec(max="2", cpu="0"), "label covey.autoscale.cpu: '0' is not a number above 0"),
        (spec(max="2", cpu="nan"), "label covey.autoscale.cpu: "),
        (spec(max="2", memory="lots"), "label covey.autoscale.memory: "),
        (spec(max="0", cpu="50"), "label covey.autoscale.max: '0' is not a number of replicas"),
        (spec(max="2", cpu="50", resources=None), "label covey.autoscale.cpu: .*--reserve-cpu"),
        (spec(max="2", memory="50", resources=None), "label covey.autoscale.memory: .*--reserve-memory"),
        (spec(max="2", prometheus__query="up"), "label covey.autoscale.prometheus.url: it is missing"),
        (
            spec(max="2", prometheus__query="up", prometheus__url="p:9090", prometheus__target="1"),
            "label covey.autoscale.prometheus.url: 'p:9090' is not the address",
        ),
        (spec(max="2", cpu="50", cooldown__up="soon"), "label covey.autoscale.cooldown.up: invalid duration"),
        (spec(max="2", cpu="50", stabilization="25h"), "label covey.autoscale.stabilization: .*limit of 24h"),
        (spec(max="2", cpu="50", mode=ServiceMode.GLOBAL), "label covey.autoscale.max: a service of mode global"),
        (spec(3, max="2", cpu="50"), "3 replicas are more than the 2 of the label covey.autoscale.max"),
        (spec(max="2", cpuu="50"), "label covey.autoscale.cpuu is not known: did you mean covey.autoscale.cpu?"),
    ],
)
def test_contradictions_are_refused_with_the_name_of_the_label(given: ServiceSpec, words: str) -> None:
    with pytest.raises(CoveyError, match=words):
        created(given)


def test_the_labels_are_percentages_durations_and_a_query() -> None:
    found = stored(
        created(
            spec(
                max="4",
                cpu="62.5%",
                prometheus__url="http://p:9090/",
                prometheus__query="sum(x)",
                prometheus__target="3",
            )
        )
    ).spec.autoscale
    assert found is not None
    assert (found.min, found.max, found.cpu_percent) == (1, 4, 62.5)
    assert (found.prometheus_url, found.prometheus_query, found.prometheus_target) == ("http://p:9090", "sum(x)", 3.0)


def test_a_new_service_begins_with_its_minimum() -> None:
    assert stored(created(spec(1, min="3", max="5", cpu="50"))).spec.replicas == 3


def test_an_update_by_a_client_that_names_no_count_keeps_the_present_one() -> None:
    view = updated(created(spec(4, min="2", max="5", cpu="50")), spec(1, min="2", max="5", cpu="60"))
    assert stored(view).spec.replicas == 4
    assert stored(updated(view, spec(3, min="2", max="5", cpu="60"))).spec.replicas == 3
    assert stored(updated(view, spec(0, min="2", max="5", cpu="60"))).spec.replicas == 0
