"""Translation of a `ContainerConfig` to the input of the OCI runtime, with Docker's rules for the environment.

Invariant: pure. `agent.container.bundle` looks up on the host what the translation needs (`HostValues`). Called by
`BundleBuilder` for containers and for execs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agent.container.device_rules import device_rule
from agent.container.model import HOST_NETWORK, ContainerConfig, ExecConfig
from agent.container.namespaces import Namespaces
from agent.runtime.oci_spec import BindMount, DeviceNode, OciContainer, OciProcess, Rlimit, TmpfsMount
from agent.runtime.selinux import SelinuxLabels
from agent.runtime.users import ProcessUser

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class HostValues(NamedTuple):
    """What was resolved on this host for one container."""

    rootfs: str
    cgroup_path: str
    hostname: str
    user: ProcessUser
    bounding: tuple[str, ...]
    seccomp: dict[str, Any] | None
    binds: tuple[BindMount, ...] = ()
    tmpfs: tuple[TmpfsMount, ...] = ()
    devices: tuple[DeviceNode, ...] = ()
    init_path: str = ""
    swap_limits: bool = False
    apparmor_profile: str = ""
    selinux: SelinuxLabels = SelinuxLabels()
    block_devices: Mapping[str, tuple[int, int]] = {}
    namespaces: Namespaces = Namespaces()
    shm_source: str | None = ""


def oci_container(config: ContainerConfig, host: HostValues) -> OciContainer:
    """The container as `agent.runtime.oci_spec.container_spec` takes it."""
    env = _environment(config, host.hostname, tty=config.tty)
    return OciContainer(
        container_id=config.id,
        process=_process(config, config.args, env, host.user, host.bounding)._replace(
            cwd=config.working_dir,
            terminal=config.tty,
            console_size=config.console_size,
            selinux_label=host.selinux.process,
        ),
        rootfs=host.rootfs,
        cgroup_path=host.cgroup_path,
        hostname=host.hostname,
        domainname=config.domainname,
        read_only=config.read_only,
        privileged=config.privileged,
        seccomp=host.seccomp,
        network_namespace=None if config.netns_path == HOST_NETWORK else config.netns_path,
        pid_namespace=host.namespaces.pid,
        ipc_namespace=host.namespaces.ipc,
        uts_namespace=host.namespaces.uts,
        cgroup_namespace=host.namespaces.cgroup,
        sysctls=config.sysctls,
        shm_size_bytes=config.shm_size_bytes,
        shm_source=host.shm_source,
        masked_paths=config.masked_paths,
        read_only_paths=config.read_only_paths,
        device_rules=tuple(device_rule(rule) for rule in config.device_cgroup_rules),
        apparmor_profile=host.apparmor_profile,
        mount_label=host.selinux.mount,
        annotations=config.annotations,
        writable_cgroups=config.writable_cgroups,
        limits=config.resources,
        binds=host.binds,
        tmpfs=host.tmpfs,
        devices=host.devices,
        init_path=host.init_path,
        swap_limits=host.swap_limits,
        block_devices=host.block_devices,
    )


def exec_process(
    config: ContainerConfig,
    exec_config: ExecConfig,
    user: ProcessUser,
    bounding: tuple[str, ...],
    selinux_label: str = "",
) -> OciProcess:
    """The process of an exec: the container's environment and rlimits, then what the exec overrides."""
    hostname = config.hostname or config.id[:12]
    env = _environment(config, hostname, tty=exec_config.tty, overrides=exec_config.env)
    return _process(config, exec_config.args, env, user, bounding)._replace(
        cwd=exec_config.working_dir or config.working_dir, terminal=exec_config.tty, selinux_label=selinux_label
    )


def _process(
    config: ContainerConfig,
    args: tuple[str, ...],
    env: tuple[str, ...],
    user: ProcessUser,
    bounding: tuple[str, ...],
) -> OciProcess:
    return OciProcess(
        args=args,
        env=env,
        cwd="/",
        user=user,
        bounding=bounding,
        rlimits=tuple(Rlimit(u.name, u.soft, u.hard) for u in config.ulimits),
        no_new_privileges=config.no_new_privileges,
        oom_score_adj=config.resources.oom_score_adj,
    )


def _environment(
    config: ContainerConfig, hostname: str, *, tty: bool, overrides: Sequence[str] = ()
) -> tuple[str, ...]:
    """Later values win; a name without "=" removes the variable."""
    defaults = [DEFAULT_PATH, f"HOSTNAME={hostname}", *(["TERM=xterm"] if tty else [])]
    merged: dict[str, str] = {}
    for value in (*defaults, *config.env, *overrides):
        name, equals, _ = value.partition("=")
        if equals:
            merged[name] = value
        else:
            merged.pop(name, None)
    return tuple(merged.values())
