"""Which namespaces a container gets: its own, the host's or those of another container."""

from __future__ import annotations

import pytest

from agent.container.model import Container, ContainerConfig, ContainerState, RunStatus
from agent.container.namespaces import Namespaces, plan_namespaces
from covey.errors import ConflictError, InvalidArgumentError, NotFoundError

ID = "d" * 64


def config(**changes: object) -> ContainerConfig:
    return ContainerConfig(**{"id": "a" * 64, "name": "n", "image": "i", "image_id": "x", "args": ("run",), **changes})


def donor(status: RunStatus = RunStatus.RUNNING, ipc_mode: str = "shareable") -> Container:
    return Container(config(id=ID, ipc_mode=ipc_mode), ContainerState(status=status, pid=42))


def plan(other: Container | None = None, version: int = 1, **changes: object) -> Namespaces:
    def find(ref: str) -> Container:
        if other is None or ref != "web":
            raise NotFoundError(f"No such container: {ref}")
        return other

    return plan_namespaces(config(**changes), find, version)


def test_a_container_has_its_own_namespaces_except_for_cgroups_on_version_one() -> None:
    assert plan() == Namespaces(pid="", ipc="", uts="", cgroup=None)
    assert plan(version=2).cgroup == ""
    assert plan(version=2, privileged=True).cgroup is None
    assert plan(version=1, cgroupns_mode="private").cgroup == ""
    assert plan(version=2, cgroupns_mode="host").cgroup is None


def test_the_hosts_namespaces_are_none() -> None:
    made = plan(pid_mode="host", ipc_mode="host", uts_mode="host")
    assert (made.pid, made.ipc, made.uts) == (None, None, None)


def test_the_namespaces_of_a_running_container_are_joined_by_its_process() -> None:
    assert plan(donor(), pid_mode="container:web").pid == "/proc/42/ns/pid"
    made = plan(donor(), ipc_mode="container:web")
    assert (made.ipc, made.ipc_container_id) == ("/proc/42/ns/ipc", ID)


def test_what_cannot_be_joined_is_refused_in_dockers_words() -> None:
    with pytest.raises(NotFoundError, match="No such container: gone"):
        plan(pid_mode="container:gone")
    with pytest.raises(ConflictError, match=f"can't join PID of container {ID}: container {ID} is not running"):
        plan(donor(RunStatus.EXITED), pid_mode="container:web")
    with pytest.raises(ConflictError, match="is restarting, wait until the container is running"):
        plan(donor(RunStatus.RESTARTING), ipc_mode="container:web")
    with pytest.raises(InvalidArgumentError, match="non-shareable IPC"):
        plan(donor(ipc_mode="private"), ipc_mode="container:web")
