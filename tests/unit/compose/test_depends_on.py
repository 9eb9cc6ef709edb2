"""The label and the order that `depends_on` gives to the services of a stack."""

from collections.abc import Mapping

import pytest

from compose.errors import ComposeFileError
from compose.nodes import Node
from compose.stack.depends_on import dependencies_first, dependency_label, in_start_order
from compose.yaml_reader import read_yaml


def test_a_list_asks_that_services_are_started() -> None:
    assert dependency_label("t", {"depends_on": ["db"]}, {"db": {}}) == {"covey.depends-on": "t_db:service_started"}


def test_a_service_that_the_file_does_not_have_is_not_waited_for() -> None:
    label = dependency_label("t", {"depends_on": ["elsewhere"]}, {})
    assert label == {"covey.depends-on": "t_elsewhere:service_started,optional"}


def test_a_mapping_gives_conditions() -> None:
    wanted = {
        "db": {"condition": "service_healthy", "restart": True, "required": True},
        "job": {"condition": "service_completed_successfully", "required": False},
    }
    label = dependency_label("t", {"depends_on": wanted}, {"db": {}, "job": {}})["covey.depends-on"]
    assert label == "t_db:service_healthy,restart;t_job:service_completed_successfully,optional"


def services(text: str) -> Mapping[str, Node]:
    return read_yaml("{" + text + "}", "f").items


def test_services_without_dependencies_get_no_label() -> None:
    assert dependency_label("t", {}, {}) == {}


def test_dependencies_come_first_and_equals_by_name() -> None:
    assert in_start_order(services("a: {depends_on: [z]}, b: {}, z: {depends_on: {m: {}}}, m: {}")) == [
        "m",
        "z",
        "a",
        "b",
    ]


def test_a_cycle_is_refused_with_its_members() -> None:
    with pytest.raises(ComposeFileError, match="^f:1:18: services.a.depends_on: .*: a -> b -> a"):
        in_start_order(services("a: {depends_on: [b]}, b: {depends_on: [a]}"))


def test_a_cycle_of_existing_services_is_still_ordered() -> None:
    assert sorted(dependencies_first({"a": ["b"], "b": ["a"]})) == ["a", "b"]
