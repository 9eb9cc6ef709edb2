"""The OCI document that a configuration becomes."""

from __future__ import annotations

from typing import Any

import pytest

from agent.container.model import ContainerConfig, ContainerUlimit, ExecConfig, ResourceLimits
from agent.runtime import capabilities, oci_spec
from agent.runtime.oci_spec import BindMount, SpecInputs, TmpfsMount
from agent.runtime.users import ProcessUser
from covey.errors import InvalidArgumentError


def config(**changes: object) -> ContainerConfig:
    return ContainerConfig(
        **{"id": "a" * 64, "name": "n", "image": "i", "image_id": "x", "args": ("run", "it"), **changes}
    )


def document(made: ContainerConfig, **changes: object) -> dict[str, Any]:
    inputs = SpecInputs(
        rootfs="/root",
        cgroup_path="/covey/a",
        hostname="h",
        user=ProcessUser(0, 0, (0,)),
        bounding=("CAP_CHOWN",),
        seccomp={"defaultAction": "x"},
    )
    return oci_spec.oci_spec(made, inputs._replace(**changes))


def test_the_defaults_mask_and_protect_what_docker_does() -> None:
    made = document(config())
    assert made["process"]["args"] == ["run", "it"]
    assert made["process"]["env"] == [oci_spec.DEFAULT_PATH, "HOSTNAME=h"]
    assert made["process"]["capabilities"] == dict.fromkeys(("bounding", "effective", "permitted"), ["CAP_CHOWN"])
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(made["linux"]["maskedPaths"])
    assert "/proc/sys" in made["linux"]["readonlyPaths"]
    assert [m["destination"] for m in made["mounts"]] == [
        "/proc",
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/dev/mqueue",
        "/sys",
        "/sys/fs/cgroup",
    ]
    assert {m["destination"] for m in made["mounts"] if "ro" in m["options"]} == {"/sys", "/sys/fs/cgroup"}
    assert made["linux"]["seccomp"] == {"defaultAction": "x"}
    assert made["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert [n["type"] for n in made["linux"]["namespaces"]] == ["mount", "network", "uts", "pid", "ipc"]


def test_a_privileged_one_is_neither_masked_nor_confined() -> None:
    made = document(config(privileged=True), seccomp=None)
    assert "maskedPaths" not in made["linux"]
    assert "seccomp" not in made["linux"]
    assert made["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert not [m for m in made["mounts"] if "ro" in m["options"]]


def test_another_user_holds_no_capabilities_but_may_gain_those_of_the_bounding_set() -> None:
    caps = document(config(), user=ProcessUser(1000, 1000, (1000,)))["process"]["capabilities"]
    assert caps == {"bounding": ["CAP_CHOWN"], "effective": [], "permitted": []}


def test_limits_become_cgroup_values() -> None:
    wanted = ResourceLimits(memory_bytes=100, nano_cpus=1_500_000_000, pids_limit=7, cpuset_cpus="0")
    made = document(config(resources=wanted), swap_limits=True)["linux"]["resources"]
    assert made["memory"] == {"limit": 100, "swap": 200}
    assert made["cpu"] == {"period": 100_000, "quota": 150_000, "cpus": "0"}
    assert made["pids"] == {"limit": 7}
    assert document(config(resources=wanted))["linux"]["resources"]["memory"] == {"limit": 100}


def test_own_mounts_replace_the_defaults_and_parents_come_first() -> None:
    made = document(
        config(),
        binds=(BindMount("/s", "/a/b/c"), BindMount("/t", "/a", read_only=True, propagation="rshared")),
        tmpfs=(TmpfsMount("/dev/shm", ("size=1",)),),
    )
    own = [m for m in made["mounts"] if m["source"] in {"/s", "/t"} or m["destination"] == "/dev/shm"]
    assert [m["destination"] for m in own] == ["/a", "/dev/shm", "/a/b/c"]
    assert own[0]["options"] == ["rbind", "rshared", "ro"]
    assert made["linux"]["rootfsPropagation"] == "shared"


def test_the_environment_is_overridden_and_emptied_by_name() -> None:
    made = document(config(env=("PATH=/x", "A=1", "A=2", "HOSTNAME"), tty=True))["process"]
    assert made["env"] == ["PATH=/x", "TERM=xterm", "A=2"]
    assert made["terminal"]


def test_the_network_namespace_is_new_given_or_the_hosts() -> None:
    def network(path: str) -> list[dict[str, str]]:
        return [n for n in document(config(netns_path=path))["linux"]["namespaces"] if n["type"] == "network"]

    assert network("") == [{"type": "network"}]
    assert network("/run/netns/x") == [{"type": "network", "path": "/run/netns/x"}]
    assert network("host") == []
    assert "net.ipv4.ping_group_range" not in document(config(netns_path="host"))["linux"]["sysctl"]


def test_an_init_goes_before_the_command_and_limits_of_processes_are_named() -> None:
    made = document(config(ulimits=(ContainerUlimit(name="nofile", soft=1, hard=2),)), init_path="/usr/bin/tini")
    assert made["process"]["args"] == ["/sbin/docker-init", "--", "run", "it"]
    assert made["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}]
    assert made["mounts"][-1]["source"] == "/usr/bin/tini"


def test_an_exec_takes_the_containers_environment_and_its_own_folder() -> None:
    made = oci_spec.exec_process(
        config(env=("A=1",), working_dir="/w"), ExecConfig(args=("x",), env=("A=2",)), ProcessUser(5, 6, (6,)), ()
    )
    assert (made["cwd"], made["env"][-1], made["user"]["uid"]) == ("/w", "A=2", 5)


def test_capabilities_are_added_and_dropped_as_docker_does() -> None:
    def allowed(add: tuple[str, ...] = (), drop: tuple[str, ...] = (), *, privileged: bool = False) -> set[str]:
        return set(capabilities.bounding_set(add, drop, privileged=privileged, last=40))

    assert allowed() == set(capabilities.DEFAULT)
    assert allowed(("sys_admin",), ("CAP_CHOWN",)) == set(capabilities.DEFAULT) - {"CAP_CHOWN"} | {"CAP_SYS_ADMIN"}
    assert allowed(("ALL",), ("MKNOD",)) == set(capabilities.ALL) - {"CAP_MKNOD"}
    assert allowed(("KILL",), ("ALL",)) == {"CAP_KILL"}
    assert allowed(privileged=True) == set(capabilities.ALL)
    assert len(capabilities.bounding_set((), (), privileged=True, last=10)) == 11
    with pytest.raises(InvalidArgumentError, match="NONSENSE"):
        allowed(("NONSENSE",))
