"""Placement constraints, preferences and platforms."""

import pytest

from covey.errors import InvalidArgumentError
from covey.objects import EngineDescription, NodeDescription, NodeStatus, Placement, Platform, replace
from covey.states import NodeRole
from manager.constraints import (
    label_value,
    meets_constraints,
    parse_constraint,
    parse_constraints,
    platform_matches,
)
from tests.support.planning import node

NODE = node(
    "n1",
    labels={"zone": "east"},
    role=NodeRole.MANAGER,
    description=NodeDescription(
        hostname="alpha",
        platform=Platform(architecture="x86_64", os="linux"),
        engine=EngineDescription(labels={"disk": "ssd"}),
    ),
)
NODE = replace(NODE, status=NodeStatus(addr="192.168.1.7"))


@pytest.mark.parametrize(
    "text",
    [
        "node.id==n1",
        "node.hostname == ALPHA",
        "node.role==manager",
        "node.role!=worker",
        "node.platform.os==linux",
        "node.platform.arch==amd64",
        "node.platform.arch==x86_64",
        "node.labels.zone==east",
        "node.labels.zone!=west",
        "node.labels.absent!=anything",
        "engine.labels.disk==ssd",
        "node.ip==192.168.0.0/16",
        "node.ip!=10.0.0.0/8",
    ],
)
def test_a_constraint_that_holds_matches_and_its_opposite_does_not(text: str) -> None:
    assert parse_constraint(text).matches(NODE)
    opposite = text.replace("!=", "==") if "!=" in text else text.replace("==", "!=")
    assert not parse_constraint(opposite).matches(NODE)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("node.labels.zone", "constraint expected one operator from ==, !="),
        ("node.labels.zone=east", "constraint expected one operator from ==, !="),
        ("==east", "key '' is invalid"),
        ("node.labels.zone==", "value '' is invalid"),
        ("node.labels.zone==a\x07", "is invalid"),
        ("node.ip==nowhere", "'nowhere' is not an IP address or subnet"),
    ],
)
def test_a_constraint_that_does_not_parse_is_quoted_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_constraint(text)
    assert why in caught.value.message
    assert f"'{text}'" in caught.value.message


def test_all_constraints_must_hold() -> None:
    assert meets_constraints(Placement(constraints=("node.role==manager", "node.labels.zone==east")), NODE)
    assert not meets_constraints(Placement(constraints=("node.role==manager", "node.labels.zone==west")), NODE)
    assert meets_constraints(None, NODE)
    assert len(parse_constraints(("node.id==n1",))) == 1


@pytest.mark.parametrize("key", ["node.colour", "node.labels.", "engine.labels.", "moon"])
def test_no_node_meets_a_constraint_with_an_unknown_key(key: str) -> None:
    assert not parse_constraint(f"{key}==x").matches(NODE)
    assert not parse_constraint(f"{key}!=x").matches(NODE)


def test_a_preference_for_an_unknown_descriptor_spreads_over_nothing() -> None:
    assert label_value("node.labels.zone", NODE) == "east"
    assert label_value("node.hostname", NODE) == label_value("moon", NODE) == ""


def test_a_platform_fits_by_any_of_its_names_and_an_empty_list_fits_all() -> None:
    assert platform_matches((), NODE)
    assert platform_matches((Platform(architecture="arm64"), Platform(architecture="amd64", os="linux")), NODE)
    assert platform_matches((Platform(os="linux"),), NODE)
    assert not platform_matches((Platform(architecture="arm64", os="linux"),), NODE)
