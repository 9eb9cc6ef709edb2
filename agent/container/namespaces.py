"""Namespaces of a container: its own, the host's, or those of another running container.

Invariant: pure. A container that is joined must run; its namespaces are named by its process id. Called by
`agent.container.bundle` before a start, with a function that finds containers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from agent.container.model import Container, ContainerConfig, RunStatus
from covey.errors import ConflictError, InvalidArgumentError

HOST = "host"
SHAREABLE = "shareable"
PRIVATE = "private"
NO_SHM = "none"
_CONTAINER = "container:"

Find = Callable[[str], Container]


class Namespaces(NamedTuple):
    """The path of each namespace: "" for a new one, None for the host's."""

    pid: str | None = ""
    ipc: str | None = ""
    uts: str | None = ""
    cgroup: str | None = None
    ipc_container_id: str = ""
    """The container whose IPC namespace and /dev/shm are joined."""
    network_container_id: str = ""
    """The container whose network namespace, /etc/hosts, /etc/resolv.conf and /etc/hostname are joined."""


def joined_container(mode: str) -> str:
    """The reference in a mode `container:REF`, else ""."""
    return mode.removeprefix(_CONTAINER) if mode.startswith(_CONTAINER) else ""


def plan_namespaces(config: ContainerConfig, find: Find, cgroup_version: int) -> Namespaces:
    """The namespaces of a container that starts now. Raises in Docker's words for a container that cannot be joined."""
    network = joined_network(config, find)
    pid, ipc = _joined("PID", config.pid_mode, find), _joined("IPC", config.ipc_mode, find)
    if ipc is not None and ipc.config.ipc_mode != SHAREABLE:
        raise InvalidArgumentError(
            f"can't join IPC of container {ipc.id}: "
            "non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
        )
    return Namespaces(
        pid=_path(pid, config.pid_mode, "pid"),
        ipc=_path(ipc, config.ipc_mode, "ipc"),
        uts=None if config.uts_mode == HOST else "",
        cgroup="" if cgroup_namespace_mode(config, cgroup_version) == PRIVATE else None,
        ipc_container_id=ipc.id if ipc else "",
        network_container_id=network.id if network else "",
    )


def cgroup_namespace_mode(config: ContainerConfig, cgroup_version: int) -> str:
    """The mode in force. Docker's default is private on cgroup v2, except for privileged containers, and host on v1."""
    default = PRIVATE if cgroup_version == 2 and not config.privileged else HOST
    return config.cgroupns_mode or default


def joined_network(config: ContainerConfig, find: Find) -> Container | None:
    """The running container whose network this one joins, None if it has its own. Raises ConflictError in Docker's words."""
    ref = joined_container(config.network_mode)
    if not ref:
        return None
    other = find(ref)
    if other.id == config.id:
        raise ConflictError("cannot join own network")
    if other.state.status is RunStatus.RESTARTING:
        raise ConflictError(f"Container {other.id} is restarting, wait until the container is running")
    if not other.state.running:
        raise ConflictError(f"cannot join network of a non running container: {other.id}")
    return other


def network_path(joined: Container) -> str:
    """The network namespace of a running container, as in `ContainerConfig.netns_path`."""
    return HOST if joined.config.netns_path == HOST else f"/proc/{joined.state.pid}/ns/net"


def _joined(kind: str, mode: str, find: Find) -> Container | None:
    """The container that a mode names."""
    ref = joined_container(mode)
    if not ref:
        return None
    other = find(ref)
    if other.state.status is RunStatus.RESTARTING:
        raise ConflictError(
            f"can't join {kind} of container {other.id}: "
            f"Container {other.id} is restarting, wait until the container is running"
        )
    if not other.state.running:
        raise ConflictError(f"can't join {kind} of container {other.id}: container {other.id} is not running")
    return other


def _path(joined: Container | None, mode: str, name: str) -> str | None:
    if joined is not None:
        return f"/proc/{joined.state.pid}/ns/{name}"
    return None if mode == HOST else ""
