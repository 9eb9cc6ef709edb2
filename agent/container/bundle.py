"""OCI bundle of a container: mounted root filesystem, bind mounts, files of /etc, and config.json.

Invariant: what this host cannot provide (a bind source, cgroup controller, init program, device or seccomp profile) is
refused before anything runs. Called by `agent.container.lifecycle` for a start and by `agent.container.execs` for an
exec. `tear_down` removes what `build` made and may be called at any time.
"""

from __future__ import annotations

import asyncio
import json
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agent.container import (
    bundle_mounts,
    device_rules,
    devices,
    etc_files,
    mount_labels,
    mount_sources,
    namespaces,
    oci,
    runtime_files,
    shared_memory,
)
from agent.container.api import ImageRootfs
from agent.container.model import ContainerConfig, ExecConfig
from agent.container.mount_sources import MountSources
from agent.container.namespaces import Namespaces
from agent.container.paths import ContainerPaths
from agent.runtime import (
    apparmor,
    capabilities,
    cgroup,
    oci_spec,
    process,
    rootfs,
    rootfs_paths,
    seccomp,
    selinux,
    syscall_abi,
    users,
)
from agent.runtime.oci_spec import BindMount
from agent.volume.local import VolumeStore
from covey.engine_settings import LiveSettings
from covey.errors import InvalidArgumentError, UnavailableError, UnsupportedError

INIT_PROGRAMS = (Path("/usr/bin/tini-static"), Path("/usr/bin/catatonit"), Path("/usr/bin/docker-init"))


class BundleBuilder:
    """Builds the bundles of all containers on this host."""

    def __init__(
        self,
        paths: ContainerPaths,
        cgroups: cgroup.CgroupLayout,
        volumes: VolumeStore,
        images: ImageRootfs,
        settings: LiveSettings,
    ) -> None:
        self._paths = paths
        self._images = images
        self._cgroups = cgroups
        self._volumes = volumes
        self._settings = settings
        self._capabilities = capabilities.supported(process.bounding_capabilities())

    def check_host_support(self, config: ContainerConfig) -> None:
        """Raises UnsupportedError or InvalidArgumentError for limits and capabilities that this host does not have."""
        cgroup.require_controllers(config.resources, self._cgroups)
        self._bounding_set(config)
        apparmor.profile(config.apparmor_profile, privileged=config.privileged)
        selinux_labels(config)
        if config.seccomp and not config.privileged:
            seccomp.check(config.seccomp)
        for rule in config.device_cgroup_rules:
            device_rules.device_rule(rule)
        if config.writable_cgroups and self._cgroups.version != 2:
            raise UnsupportedError("SecurityOpt writable-cgroups needs cgroup v2, and this host has cgroup v1")
        if config.storage_options:
            raise UnsupportedError("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")

    async def build(self, config: ContainerConfig, layers: Sequence[Path], joined: Namespaces) -> Path:
        """Mount the root, write the bundle, and return its directory. `layers` are the image's, base first."""
        cgroup.require_controllers(config.resources, self._cgroups)
        folder, bundle = self._paths.folder(config.id), self._paths.bundle(config.id)
        shutil.rmtree(bundle, ignore_errors=True)
        bundle.mkdir(mode=0o700, parents=True)
        security = selinux_labels(config)
        root = rootfs.mount_overlay(layers, folder, security.mount)
        runtime_files.make_mount_points(root)
        _make_working_dir(root, config)
        sources = MountSources(folder, self._volumes, self._images)
        binds = [
            *self._etc_binds(config, joined),
            *(await bundle_mounts.user_binds(config, sources)),
            *bundle_mounts.secret_binds(config),
        ]
        await asyncio.to_thread(mount_labels.relabel_mounts, config, binds, security)
        bounding = self._bounding_set(config)
        container = oci.oci_container(
            config,
            oci.HostValues(
                rootfs=str(root),
                cgroup_path=self._paths.cgroup(config.id, config.cgroup_parent),
                hostname=etc_files.hostname(config, platform.node()),
                user=self._resolve_user(config, config.user),
                bounding=bounding,
                seccomp=_seccomp(config, bounding),
                binds=tuple(binds),
                tmpfs=tuple(bundle_mounts.tmpfs_mounts(config)),
                devices=tuple(devices.device_nodes(config)),
                init_path=self._init_path(config),
                swap_limits=self._cgroups.swap,
                apparmor_profile=apparmor.profile(config.apparmor_profile, privileged=config.privileged),
                selinux=security,
                block_devices=devices.block_device_numbers(config.resources.block_devices),
                namespaces=joined,
                shm_source=self._shared_memory(config, joined),
            ),
        )
        (bundle / "config.json").write_text(json.dumps(oci_spec.container_spec(container)))
        return bundle

    def exec_process(self, config: ContainerConfig, exec_config: ExecConfig) -> dict[str, Any]:
        """The OCI process document of an exec in the running container."""
        privileged = config.privileged or exec_config.privileged
        bounding = self._bounding_set(msgspec.structs.replace(config, privileged=privileged))
        user = self._resolve_user(config, exec_config.user or config.user)
        return oci_spec.process_spec(
            oci.exec_process(config, exec_config, user, bounding, selinux_labels(config).process)
        )

    def tear_down(self, container_id: str) -> None:
        """Unmount the root and delete the bundle. The container's writable layer stays."""
        mount_sources.unmount_all(self._paths.folder(container_id))
        shared_memory.unmount(self._paths.folder(container_id))
        rootfs.unmount(self._paths.folder(container_id))
        shutil.rmtree(self._paths.bundle(container_id), ignore_errors=True)

    def _etc_binds(self, config: ContainerConfig, joined: Namespaces) -> list[BindMount]:
        if joined.network_container_id:
            return bundle_mounts.joined_etc_binds(config, self._paths.folder(joined.network_container_id))
        return bundle_mounts.etc_binds(config, self._paths.folder(config.id), platform.node())

    async def release_volumes(self, container_id: str) -> None:
        """End the container's use of its volumes. Volumes with driver options are unmounted with their last user."""
        for name in await self._volumes.release(container_id):
            self._volumes.emit("unmount", name, container=container_id)

    def _shared_memory(self, config: ContainerConfig, joined: Namespaces) -> str | None:
        """The source of /dev/shm: a directory of the host, "" for a tmpfs in the container, None for nothing."""
        if config.ipc_mode == namespaces.HOST:
            return "/dev/shm"  # noqa: S108  the host's own
        if config.ipc_mode == namespaces.NO_SHM:
            return None
        if joined.ipc_container_id:
            return str(shared_memory.folder(self._paths.folder(joined.ipc_container_id)))
        if config.ipc_mode == namespaces.SHAREABLE:
            return str(shared_memory.mount(self._paths.folder(config.id), config.shm_size_bytes))
        return ""

    def _init_path(self, config: ContainerConfig) -> str:
        """The program that runs as process 1, "" for none. What the container leaves open is the daemon's choice."""
        settings = self._settings.current
        wanted = settings.init if config.init is None else config.init
        return (settings.init_path or _init_program()) if wanted else ""

    def _resolve_user(self, config: ContainerConfig, user: str) -> users.ProcessUser:
        """Resolve the user against /etc/passwd and /etc/group of the mounted root."""
        root = self._paths.folder(config.id) / "merged"
        passwd, group = rootfs_paths.read_text(root, "/etc/passwd"), rootfs_paths.read_text(root, "/etc/group")
        return users.resolve_user(user, config.groups, passwd, group)

    def _bounding_set(self, config: ContainerConfig) -> tuple[str, ...]:
        return capabilities.bounding_set(
            config.cap_add, config.cap_drop, privileged=config.privileged, available=self._capabilities
        )


def selinux_labels(config: ContainerConfig) -> selinux.SelinuxLabels:
    """The labels that the container asks for. Raises InvalidArgumentError or UnsupportedError, which name the option."""
    options = (option.replace("label:", "label=", 1) for option in config.security_options)
    wanted = [option.removeprefix("label=") for option in options if option.startswith("label=")]
    return selinux.labels(() if config.privileged else wanted, config.id)


def _make_working_dir(root: Path, config: ContainerConfig) -> None:
    if config.working_dir in {"", "/"}:
        return
    try:
        rootfs_paths.make_directories(root, config.working_dir)
    except OSError as error:
        raise InvalidArgumentError(
            f"container {config.name}: cannot create the working directory {config.working_dir}: {error.strerror}"
        ) from None


def _seccomp(config: ContainerConfig, bounding: tuple[str, ...]) -> dict[str, Any] | None:
    profile = seccomp.load(seccomp.UNCONFINED if config.privileged else config.seccomp)
    if profile is None:
        return None
    uname = platform.uname()
    unused = frozenset() if syscall_abi.runs_x32() else frozenset({seccomp.X32})
    return seccomp.convert(profile, bounding, uname.machine, uname.release, without=unused)


def _init_program() -> str:
    for path in INIT_PROGRAMS:
        if path.exists():
            return str(path)
    raise UnavailableError(
        "this host has no init program for containers: install tini (tini-static), or run without --init"
    )
