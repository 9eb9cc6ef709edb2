"""The OCI specification of a container and the process document of an exec."""

from __future__ import annotations

from typing import Any

from agent.runtime.limits import ResourceLimits
from agent.runtime.oci_spec import (
    BindMount,
    OciContainer,
    OciProcess,
    Rlimit,
    TmpfsMount,
    container_spec,
    process_spec,
)
from agent.runtime.users import ProcessUser

PROCESS = OciProcess(args=("run", "it"), env=("A=1",), cwd="", user=ProcessUser(0, 0, (0,)), bounding=("CAP_CHOWN",))
CONTAINER = OciContainer(
    container_id="a" * 64,
    process=PROCESS,
    rootfs="/root",
    cgroup_path="/covey/a",
    hostname="h",
    seccomp={"defaultAction": "x"},
)


def spec(**changes: Any) -> dict[str, Any]:
    return container_spec(CONTAINER._replace(**changes))


def test_the_defaults_mask_and_protect_what_docker_does() -> None:
    made = spec()
    assert made["process"]["args"] == ["run", "it"]
    assert made["process"]["cwd"] == "/"
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


def test_a_privileged_container_is_neither_masked_nor_confined() -> None:
    made = spec(privileged=True, seccomp=None)
    assert "maskedPaths" not in made["linux"]
    assert "seccomp" not in made["linux"]
    assert made["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert not [m for m in made["mounts"] if "ro" in m["options"]]


def test_writable_cgroups_leave_the_rest_of_sys_protected() -> None:
    made = spec(writable_cgroups=True)
    assert {m["destination"] for m in made["mounts"] if "ro" in m["options"]} == {"/sys"}


def test_only_root_has_the_capabilities_of_the_bounding_set() -> None:
    process = process_spec(PROCESS._replace(user=ProcessUser(1000, 1000, (1000,))))
    assert process["capabilities"] == {"bounding": ["CAP_CHOWN"], "effective": [], "permitted": []}


def test_selinux_labels_are_stated_only_where_there_are_some() -> None:
    process = CONTAINER.process._replace(selinux_label="u:r:t:s0")
    labelled = spec(process=process, mount_label="u:o:f:s0")
    assert labelled["process"]["selinuxLabel"] == "u:r:t:s0"
    assert labelled["linux"]["mountLabel"] == "u:o:f:s0"
    assert "selinuxLabel" not in spec()["process"]
    assert "mountLabel" not in spec()["linux"]


def test_limits_become_cgroup_values() -> None:
    limits = ResourceLimits(memory_bytes=100, nano_cpus=1_500_000_000, pids_limit=7, cpuset_cpus="0")
    made = spec(limits=limits, swap_limits=True)["linux"]["resources"]
    assert made["memory"] == {"limit": 100, "swap": 200}
    assert made["cpu"] == {"period": 100_000, "quota": 150_000, "cpus": "0"}
    assert made["pids"] == {"limit": 7}
    assert spec(limits=limits)["linux"]["resources"]["memory"] == {"limit": 100}
    assert set(spec()["linux"]["resources"]) == {"devices"}


def test_own_mounts_replace_the_defaults_and_parents_come_first() -> None:
    made = spec(
        binds=(BindMount("/s", "/a/b/c"), BindMount("/t", "/a", read_only=True, propagation="rshared")),
        tmpfs=(TmpfsMount("/dev/shm", ("size=1",)),),
    )
    own = [m for m in made["mounts"] if m["source"] in {"/s", "/t"} or m["destination"] == "/dev/shm"]
    assert [m["destination"] for m in own] == ["/a", "/dev/shm", "/a/b/c"]
    assert own[0]["options"] == ["rbind", "rshared", "ro"]
    assert made["linux"]["rootfsPropagation"] == "shared"


def test_the_network_namespace_is_new_existing_or_the_hosts() -> None:
    def network(path: str | None) -> list[dict[str, str]]:
        return [n for n in spec(network_namespace=path)["linux"]["namespaces"] if n["type"] == "network"]

    assert network("") == [{"type": "network"}]
    assert network("/run/netns/x") == [{"type": "network", "path": "/run/netns/x"}]
    assert network(None) == []
    assert "net.ipv4.ping_group_range" not in spec(network_namespace=None)["linux"]["sysctl"]
    assert "net.ipv4.ping_group_range" in spec()["linux"]["sysctl"]


def test_an_init_program_goes_before_the_command() -> None:
    made = spec(init_path="/usr/bin/tini")
    assert made["process"]["args"] == ["/sbin/docker-init", "--", "run", "it"]
    assert made["mounts"][-1]["source"] == "/usr/bin/tini"


def test_a_terminal_has_its_size_from_the_start() -> None:
    sized = PROCESS._replace(console_size=(24, 80))
    assert process_spec(sized._replace(terminal=True))["consoleSize"] == {"height": 24, "width": 80}
    assert "consoleSize" not in process_spec(sized)


def test_rlimits_are_named_as_the_runtime_names_them() -> None:
    process = process_spec(PROCESS._replace(rlimits=(Rlimit("nofile", 1, 2),)))
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}]
    endless = process_spec(PROCESS._replace(rlimits=(Rlimit("core", -1, -1),)))
    assert endless["rlimits"] == [{"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1}]
