"""Plans of ``covey compose up`` and ``down``: what is created, kept, made anew and removed, and in which order."""

from typing import Any

import pytest

from cli.compose import labels
from cli.compose.config_hash import service_hash
from cli.compose.down_plan import DownOptions, plan_down
from cli.compose.model import Application, ExistingContainer, ExistingObject, HostState
from cli.compose.plan import ALWAYS, UpOptions, plan_up
from cli.compose.steps import Action
from covey.errors import InvalidArgumentError, NotFoundError

DB: dict[str, Any] = {"image": "db"}
WEB: dict[str, Any] = {"image": "web", "depends_on": {"db": {"condition": "service_healthy", "required": True}}}
APPLICATION = Application("p", services={"web": WEB, "db": DB})


def container(service: str, number: int = 1, state: str = "running", **changes: Any) -> ExistingContainer:
    found = APPLICATION.services.get(service)
    values = {"config_hash": service_hash(found) if found else "", **changes}
    return ExistingContainer(f"id-{service}-{number}", f"p-{service}-{number}", service, number, state, **values)


def actions(state: HostState, options: UpOptions | None = None) -> list[tuple[str, str]]:
    return [(step.action.value, step.name) for step in plan_up(APPLICATION, state, options or UpOptions()).steps]


def test_a_dependent_starts_after_its_dependency_is_healthy() -> None:
    steps = {step.key: step for step in plan_up(APPLICATION, HostState(), UpOptions()).steps}
    assert steps["start p-web-1"].after == {"create p-web-1", "wait db service_healthy"}
    assert steps["wait db service_healthy"].after == {"start p-db-1"}
    assert steps["create p-web-1"].after == frozenset()


def test_what_is_as_described_is_not_touched() -> None:
    assert actions(HostState((container("web"), container("db")))) == []


def test_only_what_changed_is_made_anew() -> None:
    state = HostState((container("web", config_hash="other"), container("db")))
    assert actions(state) == [("recreate", "p-web-1"), ("wait", "db"), ("start", "p-web-1")]


def test_a_changed_image_makes_a_container_anew() -> None:
    state = HostState((container("web", image="old"), container("db")), images={"web": "new"})
    assert ("recreate", "p-web-1") in actions(state)


def test_scaling_removes_surplus_and_adds_after_the_highest_number() -> None:
    state = HostState((container("web"), container("web", 2), container("db")))
    assert actions(state, UpOptions(scale={"web": 1})) == [("stop", "p-web-2"), ("remove", "p-web-2")]
    assert ("create", "p-web-3") in actions(state, UpOptions(scale={"web": 3}))


def test_force_recreate_makes_all_anew() -> None:
    state = HostState((container("web"), container("db")))
    assert [name for name in actions(state, UpOptions(recreate=ALWAYS)) if name[0] == "recreate"] == [
        ("recreate", "p-db-1"),
        ("recreate", "p-web-1"),
    ]


def test_orphans_are_named_or_removed() -> None:
    state = HostState((container("web"), container("db"), container("old")))
    assert "p-old-1" in plan_up(APPLICATION, state, UpOptions()).notices[0]
    assert ("remove", "p-old-1") in actions(state, UpOptions(remove_orphans=True))


def test_a_changed_volume_is_made_anew_only_when_that_was_agreed_to() -> None:
    """Its containers go first, and come back after it."""
    mount = {"type": "volume", "source": "v", "target": "/v"}
    services = {"a": {"image": "a", "volumes": [mount]}, "b": {"image": "b", "volumes": [mount]}, "c": {"image": "c"}}
    application = Application("p", services=services, volumes={"v": {"name": "p_v", "labels": {"new": "1"}}})
    containers = tuple(
        ExistingContainer(f"id-{name}", f"p-{name}-1", name, 1, "running", config_hash=service_hash(service))
        for name, service in services.items()
    )
    known = {labels.PROJECT: "p", labels.CONFIG_HASH: "old"}
    state = HostState(containers, volumes={"p_v": ExistingObject("p_v", "p_v", known)})
    kept = plan_up(application, state, UpOptions())
    assert not kept.steps
    assert "use --yes" in kept.notices[0]
    steps = {step.key: step for step in plan_up(application, state, UpOptions(recreate_volumes=True)).steps}
    assert steps["remove volume v"].after == {"remove p-a-1", "remove p-b-1"}
    assert steps["volume v"].after == {"remove volume v"}
    assert steps["create p-a-1"].after == {"volume v"}
    assert steps["create p-a-1"].action == Action.CREATE
    assert not [key for key in steps if "p-c-1" in key]


def test_what_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(NotFoundError, match="no such service: nope"):
        plan_up(APPLICATION, HostState(), UpOptions(services=("nope",)))
    lost = Application("p", services={"a": {"networks": {"n": None}}}, networks={"n": {"name": "x", "external": True}})
    with pytest.raises(NotFoundError, match="network x declared as external, but could not be found"):
        plan_up(lost, HostState(), UpOptions())


def test_a_service_with_a_name_of_its_own_has_one_container() -> None:
    named = Application("p", services={"a": {"image": "a", "container_name": "mine"}})
    with pytest.raises(InvalidArgumentError, match="unique name"):
        plan_up(named, HostState(), UpOptions(scale={"a": 2}))


def test_down_stops_dependents_first() -> None:
    steps = {
        step.key: step
        for step in plan_down(APPLICATION, HostState((container("web"), container("db"))), DownOptions()).steps
    }
    assert steps["stop p-db-1"].after == {"stop p-web-1"}
    assert steps["remove p-db-1"].action == Action.REMOVE
