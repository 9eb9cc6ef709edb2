"""``DependsOn`` of a service: read into the label, shown beside the spec, and refused when the label says something else."""

from typing import Any

import pytest

from covey.errors import InvalidArgumentError
from covey.objects import Service, ServiceDependency, ServiceSpec
from covey.states import DependencyCondition
from engine.translate.service import read_spec, write

LABEL = "covey.depends-on"
HEALTHY = {"Service": "db", "Condition": "service_healthy", "Restart": True}


def body(*dependencies: Any, **labels: str) -> dict[str, Any]:
    task = {"ContainerSpec": {"Image": "i"}}
    return {"Name": "web", "Labels": labels, "TaskTemplate": task, "DependsOn": list(dependencies)}


def test_dependencies_of_a_spec_become_its_label() -> None:
    spec = read_spec(body(HEALTHY, {"Service": "job", "Optional": True}))
    assert spec.annotations.labels == {LABEL: "db:service_healthy,restart;job:service_started,optional"}
    assert spec.depends_on[0] == ServiceDependency(service="db", condition=DependencyCondition.HEALTHY, restart=True)
    assert LABEL not in read_spec(body()).annotations.labels


def test_the_label_may_say_the_same_in_other_words_and_nothing_else() -> None:
    assert read_spec(body({"Service": "db"}, **{LABEL: "db"})).annotations.labels == {LABEL: "db"}
    with pytest.raises(InvalidArgumentError, match=f"db:service_healthy,restart is not what the label {LABEL} says"):
        read_spec(body(HEALTHY, **{LABEL: "db"}))


@pytest.mark.parametrize(
    ("dependency", "message"),
    [
        ({"Condition": "service_healthy"}, "is required"),
        ({"Service": "db", "Condition": "soon"}, "soon"),
        ({"Service": "a;b"}, "names of services"),
        ({"Service": "db", "Required": True}, "Required"),
        ("db", "DependsOn"),
    ],
)
def test_malformed_dependencies_are_refused_by_name(dependency: Any, message: str) -> None:
    with pytest.raises(Exception, match=message):
        read_spec(body(dependency))


def test_a_service_shows_its_dependencies_beside_its_spec() -> None:
    found = ServiceDependency(service="db", condition=DependencyCondition.HEALTHY, restart=True)
    shown = write(Service(id="s", spec=ServiceSpec(depends_on=(found,))))
    assert shown["DependsOn"] == [HEALTHY]
    assert "DependsOn" not in shown["Spec"]
    assert "DependsOn" not in write(Service(id="s"))
