import copy
from typing import Any

import pytest

from covey.version import DOCKER_RELEASE, engine_version
from engine.host_programs import ProgramVersion, parse_version
from engine.routing import API_VERSION, MIN_API_VERSION
from engine.translate.api_versions import RULES, shape

INFO = {
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
    "CgroupVersion": "1",
    "MemoryLimit": True,
    "RegistryConfig": {"Mirrors": []},
    "ContainerdCommit": {"ID": ""},
    "RuncCommit": {"ID": "1.1.5"},
    "InitCommit": {"ID": "x"},
    "FirewallBackend": {"Driver": "nftables"},
    "DiscoveredDevices": [],
}
CONTAINER = {
    "HostConfig": {"Annotations": {"a": "b"}},
    "Config": {},
    "NetworkSettings": {"Networks": {"net": {"MacAddress": "02:42:00:00:00:01", "DNSNames": ["c"], "GwPriority": 0}}},
}


def shaped(kind: str, version: tuple[int, int], value: dict[str, Any]) -> dict[str, Any]:
    return shape(kind, version, copy.deepcopy(value))


def test_the_newest_version_sees_the_response_as_it_is() -> None:
    assert shaped("info", API_VERSION, INFO) == INFO
    assert shaped("container", API_VERSION, CONTAINER) == CONTAINER


@pytest.mark.parametrize(
    ("version", "present", "absent"),
    [
        ((1, 49), ("BridgeNfIptables", "FirewallBackend"), ("DiscoveredDevices", "KernelMemory")),
        ((1, 48), ("BridgeNfIptables",), ("FirewallBackend", "KernelMemory")),
        ((1, 41), ("KernelMemory", "CgroupVersion"), ("FirewallBackend",)),
        ((1, 40), ("KernelMemoryTCP",), ("CgroupVersion",)),
    ],
)
def test_info_has_the_fields_of_its_version(
    version: tuple[int, int], present: tuple[str, ...], absent: tuple[str, ...]
) -> None:
    found = shaped("info", version, INFO)
    assert set(present) <= set(found)
    assert not set(absent) & set(found)


def test_what_older_clients_read_has_its_old_value() -> None:
    assert shaped("info", (1, 24), INFO)["SecurityOptions"] == ["seccomp", "cgroupns"]
    assert shaped("info", (1, 48), INFO)["RuncCommit"] == {"ID": "1.1.5", "Expected": "1.1.5"}
    assert shaped("info", (1, 46), INFO)["RegistryConfig"]["AllowNondistributableArtifactsCIDRs"] == []
    old = shaped("container", (1, 41), CONTAINER)
    assert old["HostConfig"] == {"KernelMemory": 0, "KernelMemoryTCP": 0}
    assert set(old["NetworkSettings"]["Networks"]["net"]) == {"MacAddress", "Aliases"}


def test_clients_before_1_45_find_the_short_id_among_the_aliases() -> None:
    """docker-compose 1.29 reconnects each network of a container that lacks it there."""
    container = {
        "Id": "0123456789abcdef",
        "Config": {"Hostname": "web"},
        "NetworkSettings": {
            "Networks": {"net": {"DNSNames": ["c"], "Aliases": ["a"]}, "bridge": {"DNSNames": None, "Aliases": None}}
        },
    }
    shown = shaped("container", (1, 44), container)["NetworkSettings"]["Networks"]
    assert (shown["net"]["Aliases"], shown["bridge"]["Aliases"]) == (["a", "0123456789ab", "web"], None)
    assert shaped("container", (1, 45), container) == container
    assert shaped("image summary", (1, 43), {"Size": 5})["VirtualSize"] == 5
    assert shaped("network", (1, 47), {"EnableIPv4": True}) == {}
    assert shaped("disk usage", (1, 41), {})["BuilderSize"] == 0


def test_rules_lie_within_the_versions_that_are_served() -> None:
    for rules in RULES.values():
        assert all(MIN_API_VERSION < rule.version <= API_VERSION for rule in rules)


def test_clients_can_compare_the_engines_version_with_dockers() -> None:
    number, _, build = engine_version().partition("+")
    assert number == DOCKER_RELEASE
    assert tuple(map(int, number.split("."))) >= (25, 0, 0)
    assert build.startswith("covey.")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2",
            ProgramVersion("1.1.5+ds1", "1.1.5+ds1-1+deb12u1"),
        ),
        ("conmon version 2.1.6\ncommit: unknown\n", ProgramVersion("2.1.6", "unknown")),
        ("tini version 0.19.0\n", ProgramVersion("0.19.0")),
        ("sh: not found", None),
    ],
)
def test_versions_of_programs_are_read_from_what_they_print(text: str, version: ProgramVersion | None) -> None:
    assert parse_version(text) == version
