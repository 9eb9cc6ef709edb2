"""The label `covey.depends-on` in requests: what is stored, and what is refused with which words."""

from __future__ import annotations

import pytest

from covey.errors import InvalidArgumentError
from covey.objects import Annotations, ServiceDependency, ServiceSpec
from covey.states import DependencyCondition
from manager.control.dependency_validation import resolved_dependencies
from manager.store.view import View
from tests.support.planning import view_of
from tests.unit.manager.orchestrator.test_dependencies import depending


def resolve(label: str, view: View | None = None, name: str = "web") -> tuple[ServiceDependency, ...]:
    spec = ServiceSpec(annotations=Annotations(name=name, labels={"covey.depends-on": label}))
    return resolved_dependencies(view or View.empty(), spec)


def test_the_label_is_stored_as_dependencies() -> None:
    healthy = ServiceDependency(service="db", condition=DependencyCondition.HEALTHY, restart=True)
    assert resolve("db:service_healthy,restart; cache") == (healthy, ServiceDependency(service="cache"))


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("db:healthy", "condition 'healthy' of db is not one of"),
        ("db:", "condition '' of db"),
        ("db,now", "'now' of db is neither restart nor optional"),
        ("db;;cache", "names no service"),
        ("db;db:service_healthy", "service db is named twice"),
        (";".join(f"s{number}" for number in range(65)), "65 services are named, the limit is 64"),
        ("web", "web -> web"),
    ],
)
def test_a_bad_label_is_refused_by_name(label: str, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match="label covey.depends-on: .*" + words):
        resolve(label)


def test_a_cycle_over_stored_services_is_refused_with_its_members() -> None:
    view = view_of(depending("db", "store"), depending("store", "web;other"), depending("other", ""))
    with pytest.raises(InvalidArgumentError, match="web -> db -> store -> web"):
        resolve("db", view)
