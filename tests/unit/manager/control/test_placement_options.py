"""Labels of placement in requests: what is stored, and which contradictions are refused with which words."""

from __future__ import annotations

import re

import pytest

from covey.errors import InvalidArgumentError
from covey.objects import Affinity, Annotations, ContainerSpec, MaxSkew, Placement, Service, ServiceSpec, TaskSpec
from covey.states import ServiceMode
from manager.control.service_validation import resolve_service
from manager.store.view import View
from tests.support.planning import view_of

ZONE = "node.labels.zone"


def spec(name: str = "web", mode: ServiceMode = ServiceMode.REPLICATED, preferences=(), **labels: str) -> ServiceSpec:
    known = {"near": "covey.affinity", "apart": "covey.anti-affinity", "skew": "covey.spread.max-skew"}
    known["priority"] = "covey.priority"
    placement = Placement(preferences=preferences) if preferences else None
    return ServiceSpec(
        annotations=Annotations(name=name, labels={known.get(key, key): text for key, text in labels.items()}),
        task=TaskSpec(container=ContainerSpec(image="busybox"), placement=placement),
        mode=mode,
    )


def stored(*specs: ServiceSpec) -> View:
    view = View.empty()
    for item in specs:
        view = view_of(*view.services, Service(id=item.annotations.name, spec=resolve_service(view, item)))
    return view


def placement(item: ServiceSpec, view: View | None = None) -> Placement | None:
    return resolve_service(view or View.empty(), item).task.placement


def test_the_labels_become_parts_of_the_placement_and_leave_it_with_them() -> None:
    found = placement(spec(near="db", apart=f"web@{ZONE},preferred", skew="2", priority="-5", preferences=(ZONE,)))
    assert found == Placement(
        preferences=(ZONE,),
        affinities=(Affinity(service="db"), Affinity(service="web", scope=ZONE, preferred=True, apart=True)),
        max_skews=(MaxSkew(limit=2, scope=ZONE),),
        priority=-5,
    )
    assert placement(spec(near="", priority="")) is None


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (spec(skew="1"), "label covey.spread.max-skew: the service has no placement preference"),
        (spec(skew=f"1;2@{ZONE}", preferences=(ZONE,)), "two numbers are given for node.labels.zone"),
        (spec(skew=f"1@{ZONE}", mode=ServiceMode.GLOBAL), "label covey.spread.max-skew: a global service has"),
        (spec(near="db", mode=ServiceMode.GLOBAL_JOB), "label covey.affinity: a global-job service has"),
        (spec(near="db", apart="db"), "labels covey.affinity and covey.anti-affinity: db@node contradicts db@node"),
        (spec(near="db", apart=f"db@{ZONE}"), "db@node contradicts db@node.labels.zone"),
        (spec(near="web", apart="label:a=b", a="b"), "must be near web@node, and service web away from label:a=b@node"),
    ],
)
def test_labels_that_contradict_each_other_or_the_mode_are_refused(item: ServiceSpec, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape(words)):
        placement(item)


@pytest.mark.parametrize(
    "item",
    [
        spec(near="web", a="b"),  # its own tasks are together, wherever the first one is
        spec(near="db,preferred", apart="db"),
        spec(near=f"db@{ZONE}", apart="db"),  # in the same zone, on another node
        spec(near="nobody"),
        spec(apart="web"),
    ],
)
def test_labels_that_can_be_met_are_stored(item: ServiceSpec) -> None:
    assert placement(item, stored(spec("db"))) is not None


def test_a_contradiction_with_another_service_is_refused_in_either_order() -> None:
    near_db, away = spec("web", near=f"db@{ZONE}"), spec("db", apart=f"label:kind=web@{ZONE}")
    labelled = spec("web", near=f"db@{ZONE}", kind="web")
    assert placement(near_db, stored(away))
    words = "service web must be near db@node.labels.zone, and service db away from label:kind=web@node.labels.zone"
    with pytest.raises(InvalidArgumentError, match=words):
        placement(labelled, stored(away))
    with pytest.raises(InvalidArgumentError, match=words):
        placement(away, stored(labelled))


def test_one_of_several_services_with_a_label_is_enough() -> None:
    view = stored(spec("a", apart="web", kind="db"), spec("b", kind="db"))
    assert placement(spec("web", near="label:kind=db"), view)
    with pytest.raises(InvalidArgumentError, match="must be near label:kind=db@node"):
        placement(spec("web", near="label:kind=db", apart="b"), view)


def test_services_that_would_wait_for_each_other_are_refused_with_the_way() -> None:
    view = stored(spec("db", near="store"), spec("store", near="web,preferred;cache"))
    assert placement(spec("web", near="db"), view)
    view = stored(spec("db", near="store"), spec("store", near="label:app=web"))
    with pytest.raises(InvalidArgumentError, match="wait for each other: web -> db -> store -> web"):
        placement(spec("web", near="db", app="web"), view)
    other = stored(spec("db", near="store"), spec("store", near="label:app=web"), spec("more", app="web"))
    assert placement(spec("web", near="db", app="web"), other), "a task of another service may be there first"
