"""The plan of a stack deployment: unchanged, missing and immutable objects."""

import base64
import copy
from typing import Any

import pytest

from cli.stack import plan
from compose.stack.model import Stack, StackFile, StackNetwork, StackService
from covey.errors import ConflictError, NotFoundError

SPEC: dict[str, Any] = {
    "Name": "s_web",
    "Labels": {"com.docker.stack.namespace": "s"},
    "TaskTemplate": {"ContainerSpec": {"Image": "i"}, "Resources": {}, "Placement": {}},
    "EndpointSpec": {},
    "Mode": {"Replicated": {}},
}
# The same as the daemon gives it back.
ECHO: dict[str, Any] = {
    **SPEC,
    "TaskTemplate": {
        "ContainerSpec": {"Image": "i", "Isolation": "default"},
        "RestartPolicy": {"Condition": "any", "Delay": 5_000_000_000, "MaxAttempts": 0},
        "ForceUpdate": 3,
        "Runtime": "container",
    },
    "EndpointSpec": {"Mode": "vip"},
    "Mode": {"Replicated": {"Replicas": 1}},
}


def changed(path: str, value: object) -> dict[str, Any]:
    spec = copy.deepcopy(SPEC)
    at = spec
    *parents, last = path.split(".")
    for key in parents:
        at = at.setdefault(key, {})
    at[last] = value
    return spec


def there(spec: dict[str, Any]) -> dict[str, Any]:
    return {"ID": "id", "Version": {"Index": 7}, "Spec": spec}


def test_defaults_that_the_daemon_fills_in_are_no_change() -> None:
    assert plan.specs_equal(ECHO, SPEC)
    decided = plan.plan_services([StackService(key="web", name="s_web", spec=SPEC)], [there(ECHO)], {}, prune=True)
    assert (decided.create, decided.update, decided.prune) == ((), (), ())
    assert len(decided.unchanged) == 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("Mode", {"Replicated": {"Replicas": 0}}),
        ("Mode", {"Global": {}}),
        ("Labels", {}),
        ("TaskTemplate.ContainerSpec.Env", ["A=1"]),
        ("TaskTemplate.ContainerSpec.Init", False),
        ("TaskTemplate.ContainerSpec.StopGracePeriod", 0),
        ("TaskTemplate.RestartPolicy", {"Condition": "none"}),
        ("TaskTemplate.RestartPolicy", {"Delay": 0}),
        ("TaskTemplate.Networks", [{"Target": "n"}]),
        ("EndpointSpec", {"Mode": "dnsrr"}),
        ("UpdateConfig", {"Parallelism": 0}),
    ],
)
def test_every_difference_is_an_update(path: str, value: object) -> None:
    wanted = StackService(key="web", name="s_web", spec=changed(path, value))
    decided = plan.plan_services([wanted], [there(ECHO)], {}, prune=False)
    assert len(decided.update) == 1
    sent = plan.update_body(there(ECHO), wanted)
    assert sent["TaskTemplate"]["ForceUpdate"] == 3, "forcing once is not undone by deploying again"


def test_services_are_pruned_only_on_request() -> None:
    for prune, gone in ((False, 0), (True, 1)):
        assert len(plan.plan_services([], [there(ECHO)], {}, prune=prune).prune) == gone


def test_names_of_secrets_and_configs_are_resolved_to_ids_and_networks_stay_names() -> None:
    task = {
        "ContainerSpec": {"Secrets": [{"SecretName": "a"}], "Configs": [{"ConfigName": "b"}]},
        "Networks": [{"Target": "n"}],
    }
    service = StackService(key="w", name="w", spec={"TaskTemplate": task})
    resolved = plan.resolve_ids(service, {"a": "A"}, {"b": "B"}).spec["TaskTemplate"]
    assert resolved["ContainerSpec"]["Secrets"] == [{"SecretName": "a", "SecretID": "A"}]
    assert resolved["ContainerSpec"]["Configs"] == [{"ConfigName": "b", "ConfigID": "B"}]
    assert resolved["Networks"] == [{"Target": "n"}]
    with pytest.raises(NotFoundError, match="secret not found: a"):
        plan.resolve_ids(service, {}, {"b": "B"})


def test_a_stored_service_with_ids_of_networks_equals_the_one_with_names() -> None:
    spec = {**SPEC, "TaskTemplate": {**SPEC["TaskTemplate"], "Networks": [{"Target": "s_n", "Aliases": ["web"]}]}}
    stored = {**spec, "TaskTemplate": {**spec["TaskTemplate"], "Networks": [{"Target": "id", "Aliases": ["web"]}]}}
    wanted = [StackService(key="web", name=SPEC["Name"], spec=spec)]
    assert plan.plan_services(wanted, [there(stored)], {"id": "s_n"}, prune=False).unchanged
    assert plan.plan_services(wanted, [there(stored)], {"id": "other"}, prune=False).update


def test_networks_are_created_once_and_external_ones_must_exist() -> None:
    stack = Stack(
        name="s", networks=(StackNetwork(key="a", name="s_a"), StackNetwork(key="x", name="x", external=True))
    )
    ours = {"Name": "s_a", "Scope": "swarm"}
    theirs = {"Name": "x", "Scope": "swarm"}
    assert [network.name for network in plan.plan_networks(stack, [theirs])] == ["s_a"]
    assert plan.plan_networks(stack, [ours, theirs]) == []
    with pytest.raises(NotFoundError, match='network "x" is declared as external'):
        plan.plan_networks(stack, [ours, {"Name": "x", "Scope": "local"}])


def config(name: str, data: bytes, labels: dict[str, str]) -> dict[str, Any]:
    return there({"Name": name, "Labels": labels, "Data": base64.b64encode(data).decode()})


def test_a_config_with_equal_content_is_not_touched_and_a_different_one_is_refused() -> None:
    wanted = [StackFile(key="c", name="s_c", labels={"l": "1"}, data=b"one")]
    assert plan.plan_files(wanted, [], "config") == plan.FilePlan(create=tuple(wanted))
    assert plan.plan_files(wanted, [config("s_c", b"one", {"l": "1"})], "config") == plan.FilePlan()
    planned = plan.plan_files(wanted, [config("s_c", b"one", {})], "config")
    assert (planned.create, len(planned.update)) == ((), 1)
    with pytest.raises(ConflictError, match=r"config s_c exists with different content.*\(configs\.c\.name\)"):
        plan.plan_files(wanted, [config("s_c", b"two", {})], "config")


def test_an_external_secret_must_exist() -> None:
    with pytest.raises(NotFoundError, match="secret not found: token"):
        plan.plan_files([StackFile(key="t", name="token", external=True)], [], "secret")


def test_defaults_are_filled_in_at_their_section_alone() -> None:
    spec = {"TaskTemplate": {"ContainerSpec": {"Secrets": [{"SecretName": "s"}]}}}
    assert plan.comparable(spec)["TaskTemplate"]["ContainerSpec"]["Secrets"] == [{"SecretName": "s"}]
