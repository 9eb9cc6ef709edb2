"""The OCI runtime's input that follows from a container's configuration."""

from __future__ import annotations

from agent.container.model import ContainerConfig, ContainerUlimit, ExecConfig
from agent.container.oci import DEFAULT_PATH, HostValues, exec_process, oci_container
from agent.runtime.limits import ResourceLimits
from agent.runtime.oci_spec import OciContainer, Rlimit
from agent.runtime.users import ProcessUser

HOST = HostValues(
    rootfs="/root",
    cgroup_path="/covey/a",
    hostname="h",
    user=ProcessUser(0, 0, (0,)),
    bounding=("CAP_CHOWN",),
    seccomp=None,
    swap_limits=True,
)


def config(**changes: object) -> ContainerConfig:
    return ContainerConfig(
        **{"id": "a" * 64, "name": "n", "image": "i", "image_id": "x", "args": ("run", "it"), **changes}
    )


def container(**changes: object) -> OciContainer:
    return oci_container(config(**changes), HOST)


def test_the_environment_is_overridden_and_removed_by_name() -> None:
    assert container().process.env == (DEFAULT_PATH, "HOSTNAME=h")
    process = container(env=("PATH=/x", "A=1", "A=2", "HOSTNAME"), tty=True).process
    assert process.env == ("PATH=/x", "TERM=xterm", "A=2")
    assert process.terminal


def test_the_network_namespace_of_the_host_is_none() -> None:
    assert container(netns_path="host").network_namespace is None
    assert container(netns_path="/run/netns/x").network_namespace == "/run/netns/x"
    assert container().network_namespace == ""


def test_limits_of_processes_and_resources_are_passed_on() -> None:
    limits = ResourceLimits(memory_bytes=100, oom_score_adj=7)
    made = container(ulimits=(ContainerUlimit(name="nofile", soft=1, hard=2),), resources=limits)
    assert made.process.rlimits == (Rlimit("nofile", 1, 2),)
    assert made.process.oom_score_adj == 7
    assert made.limits == limits


def test_every_flag_of_the_configuration_reaches_the_runtime() -> None:
    for flag in ("read_only", "privileged"):
        assert getattr(container(**{flag: True}), flag), flag
        assert not getattr(container(), flag), flag
    made = container(no_new_privileges=True, domainname="d", sysctls={"a": "b"}, shm_size_bytes=1, working_dir="/w")
    assert made.process.no_new_privileges
    assert (made.domainname, made.sysctls, made.shm_size_bytes, made.process.cwd) == ("d", {"a": "b"}, 1, "/w")
    assert (made.rootfs, made.cgroup_path, made.swap_limits) == ("/root", "/covey/a", True)


def test_an_exec_takes_the_containers_environment_and_its_own_directory() -> None:
    made = config(env=("A=1",), working_dir="/w", no_new_privileges=True)
    process = exec_process(made, ExecConfig(args=("x",), env=("A=2",)), ProcessUser(5, 6, (6,)), ())
    assert (process.args, process.cwd, process.env[-1], process.user.uid) == (("x",), "/w", "A=2", 5)
    assert process.no_new_privileges
    assert (
        exec_process(made, ExecConfig(args=("x",), working_dir="/o"), process.user, (), "u:r:t:s0").selinux_label
        == "u:r:t:s0"
    )
    assert exec_process(made, ExecConfig(args=("x",), working_dir="/o"), process.user, ()).cwd == "/o"
