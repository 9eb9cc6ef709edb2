"""The report of a stack's plan: differences by field, what restarts, and versions of files."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from cli.stack.changes import field_changes, restart_reason
from cli.stack.file_versions import MAX_NAME, old_versions, version_name, with_versions
from cli.stack.plan import ServicePlan, specs_in_use
from cli.stack.report import network_changes
from compose.stack.model import Stack, StackFile, StackNetwork, StackService

LABELS = {"com.docker.stack.namespace": "s"}


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"b": 2}, ["a: 1 -> (none)", "b: (none) -> 2"]),
        ({"a": {"b": [1]}}, {"a": {"b": [1, 2]}}, ["a.b: [1] -> [1, 2]"]),
        ({"x": {"Env": ["A=1", "B=1"]}}, {"x": {"Env": ["A=1", "B=2"]}}, ['x.Env.B: "B=1" -> "B=2"']),
        ({"x": {"Env": ["A=1", "B=1"]}}, {"x": {"Env": ["B=1", "A=1"]}}, ['x.Env: ["A=1", "B=1"] -> ["B=1", "A=1"]']),
        (
            {"Mounts": [{"Target": "/a", "Source": "v"}]},
            {"Mounts": [{"Target": "/a", "Source": "w"}]},
            ['Mounts./a.Source: "v" -> "w"'],
        ),
        ({"Mode": {"Global": {}}}, {"Mode": {}}, ["Mode.Global: {} -> (none)"]),
        ({"a": None}, {"a": {"b": 1}}, ["a.b: (none) -> 1"]),
    ],
)
def test_each_difference_has_its_path(old: Any, new: Any, lines: list[str]) -> None:
    assert [str(change) for change in field_changes(old, new)] == lines


def test_only_the_task_template_and_the_endpoint_mode_restart_tasks() -> None:
    def reason(old: Any, new: Any) -> str:
        return restart_reason(field_changes(old, new))

    assert reason({"Labels": {"a": "1"}, "Mode": {}}, {"Labels": {}, "Mode": {"Global": {}}}) == ""
    assert reason({"EndpointSpec": {"Ports": [1]}}, {"EndpointSpec": {"Ports": [2]}}) == ""
    assert reason({"EndpointSpec": {"Mode": "vip"}}, {"EndpointSpec": {"Mode": "dnsrr"}}) == "EndpointSpec.Mode changed"
    task = {"TaskTemplate": {"ContainerSpec": {"Image": "a"}, "Networks": [1]}}
    other = {"TaskTemplate": {"ContainerSpec": {"Image": "b"}, "Networks": [2]}}
    assert reason(task, other) == "Image, Networks changed"


def test_options_that_the_daemon_added_to_a_network_are_no_difference() -> None:
    network = StackNetwork(key="n", name="s_n", body={"Driver": "overlay", "Options": {"a": "1"}, "Labels": LABELS})
    there = {"Driver": "overlay", "Options": {"a": "1", "vni": "7"}, "Labels": LABELS, "IPAM": {"Config": []}}
    assert network_changes(there, network) == []
    assert [str(item) for item in network_changes({**there, "Driver": "bridge"}, network)] == [
        'Driver: "bridge" -> "overlay"'
    ]


def file(data: bytes, **more: Any) -> StackFile:
    return StackFile(**{"key": "c", "name": "s_c", "labels": LABELS, "data": data, "versioned": True, **more})


def item(name: str, data: bytes = b"", **labels: str) -> dict[str, Any]:
    return {"ID": name, "Spec": {"Name": name, "Labels": LABELS | labels, "Data": base64.b64encode(data).decode()}}


def stack(*files: StackFile, uses: str = "s_c") -> Stack:
    spec = {"TaskTemplate": {"ContainerSpec": {"Configs": [{"ConfigName": uses, "File": {"Name": "c"}}]}}}
    return Stack(name="s", configs=files, services=(StackService(key="w", name="s_w", spec=spec),))


def versions(described: Stack, *existing: dict[str, Any], same: bool = False, in_use: str = "s_c") -> Stack:
    decide: Callable[[str, Mapping[str, Any], StackFile], bool] = lambda *_: same  # noqa: E731 — an argument
    spec = {"TaskTemplate": {"ContainerSpec": {"Configs": [{"ConfigName": in_use}]}}}
    return with_versions(described, {"secret": [], "config": existing}, [{"Spec": spec}], decide)


def used(found: Stack) -> Any:
    return found.services[0].spec["TaskTemplate"]["ContainerSpec"]["Configs"][0]


def test_the_name_of_a_version_follows_the_content_and_the_target_stays() -> None:
    one, two = versions(stack(file(b"one"))), versions(stack(file(b"two")))
    assert one.configs[0].name == "s_c_7692c3ad"
    assert used(one) == {"ConfigName": "s_c_7692c3ad", "File": {"Name": "c"}}
    assert two.configs[0].name != one.configs[0].name
    assert one.configs[0].labels["covey.stack.key"] == "c"


def test_dockers_plain_name_is_kept_while_its_content_is_the_same() -> None:
    described = stack(file(b"one"))
    assert used(versions(described, item("s_c"), same=True))["ConfigName"] == "s_c"
    assert used(versions(described, item("s_c"), same=False))["ConfigName"] != "s_c"
    assert used(versions(described, item("s_c"), same=True, in_use="s_c_1"))["ConfigName"] != "s_c"
    foreign = item("s_c")
    foreign["Spec"]["Labels"] = {}
    assert used(versions(described, foreign, same=True))["ConfigName"] != "s_c", "not an object of the stack"


def test_a_name_of_its_own_opts_out() -> None:
    found = versions(stack(file(b"one", name="own", versioned=False), uses="own"))
    assert (found.configs[0].name, used(found)["ConfigName"]) == ("own", "own")


def test_names_that_are_too_long_are_cut_and_differ() -> None:
    names = {version_name(file(b"one", name="s_" + "x" * 70 + end)) for end in ("a", "b")}
    assert len(names) == 2
    assert {len(name) for name in names} == {MAX_NAME}


def test_old_versions_go_unless_a_service_or_its_rollback_uses_them() -> None:
    found = versions(stack(file(b"two")))
    now = found.configs[0].name
    existing = [
        item(now, **{"covey.stack.key": "c"}),
        item("s_c_previous", **{"covey.stack.key": "c"}),
        item("s_c_old", **{"covey.stack.key": "c"}),
        item("s_c"),
        item("s_other"),
        item("s_gone_1", **{"covey.stack.key": "gone"}),
    ]

    def spec(name: str) -> dict[str, Any]:
        return {"TaskTemplate": {"ContainerSpec": {"Configs": [{"ConfigName": name}]}}}

    stored = ({"Spec": spec(now), "PreviousSpec": spec("s_c_previous")}, found.services[0])
    specs = specs_in_use(ServicePlan((), (), (stored,), ()), ())
    assert [old["ID"] for old in old_versions(found, "config", existing, specs)] == ["s_c_old", "s_c"]
    updated = ({"Spec": spec("s_c_old"), "PreviousSpec": spec("s_c_previous")}, found.services[0])
    specs = specs_in_use(ServicePlan((), (updated,), (), ()), ())
    assert [old["ID"] for old in old_versions(found, "config", existing, specs)] == ["s_c_previous", "s_c"]
