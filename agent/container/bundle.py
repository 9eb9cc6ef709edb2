"""Everything a start needs on disk: the mounted root, the files of /etc, the owners of secrets, the bundle with its
config.json.

Law: what the host cannot give (a missing bind source, controller, init, device, seccomp profile) is refused before
anything runs. Called by
`ContainerService.start` alone; `undo` takes it all away again and may be called at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from agent.container import etc_files
from agent.container.model import ContainerConfig, ContainerMount, DeviceMapping, FileMount, MountKind
from agent.container.paths import ContainerPaths
from agent.runtime import cgroup, oci_spec, process, rootfs, rootfs_paths, seccomp, users
from agent.runtime.oci_spec import BindMount, DeviceNode, SpecInputs, TmpfsMount
from agent.volume.local import VolumeStore
from covey.errors import InvalidArgumentError, UnavailableError

INIT_PROGRAMS = (Path("/usr/bin/tini-static"), Path("/usr/bin/catatonit"), Path("/usr/bin/docker-init"))
_TMPFS_DEFAULT = ("noexec", "nosuid", "nodev")
_COPY_TIMEOUT_SECONDS = 600.0


class BundleBuilder:
    """Shared by all containers of the host."""

    def __init__(self, paths: ContainerPaths, cgroups: cgroup.CgroupLayout, volumes: VolumeStore) -> None:
        self._paths = paths
        self._cgroups = cgroups
        self._volumes = volumes
        self._last_capability = int(Path("/proc/sys/kernel/cap_last_cap").read_text())

    async def build(self, config: ContainerConfig, layers: Sequence[Path]) -> Path:
        """The bundle's folder, ready for the runtime."""
        cgroup.require_controllers(config.resources, self._cgroups)
        folder, bundle = self._paths.folder(config.id), self._paths.bundle(config.id)
        shutil.rmtree(bundle, ignore_errors=True)
        bundle.mkdir(mode=0o700, parents=True)
        root = rootfs.mount_overlay(layers, folder)
        if config.working_dir not in {"", "/"}:
            self._working_dir(root, config)
        binds = [*self._etc(config, folder), *(await self._binds(config, root)), *_files(config)]
        bounding = self.bounding(config)
        profile = seccomp.UNCONFINED if config.privileged else config.seccomp
        loaded = seccomp.load(profile)
        uname = platform.uname()
        document = oci_spec.oci_spec(
            config,
            SpecInputs(
                rootfs=str(root),
                cgroup_path=self._paths.cgroup(config.id),
                hostname=etc_files.hostname(config, uname.node),
                user=self.resolve_user(config, config.user),
                bounding=bounding,
                seccomp=None if loaded is None else seccomp.convert(loaded, bounding, uname.machine, uname.release),
                binds=tuple(binds),
                tmpfs=tuple(_tmpfs(config)),
                devices=tuple(_devices(config)),
                init_path=_init_program() if config.init else "",
                swap_limits=self._cgroups.swap,
                cgroup_version=self._cgroups.version,
            ),
        )
        (bundle / "config.json").write_text(json.dumps(document))
        return bundle

    def tear_down(self, container_id: str) -> None:
        """Unmount the root and drop the bundle; what the container wrote stays."""
        rootfs.unmount(self._paths.folder(container_id))
        shutil.rmtree(self._paths.bundle(container_id), ignore_errors=True)

    def resolve_user(self, config: ContainerConfig, user: str) -> users.ProcessUser:
        """Resolve a user against the mounted root's own files."""
        root = self._paths.folder(config.id) / "merged"
        passwd, group = rootfs_paths.read_text(root, "/etc/passwd"), rootfs_paths.read_text(root, "/etc/group")
        return users.resolve_user(user, config.groups, passwd, group)

    def bounding(self, config: ContainerConfig) -> tuple[str, ...]:
        return oci_spec.bounding_set(config, self._last_capability)

    @staticmethod
    def _working_dir(root: Path, config: ContainerConfig) -> None:
        try:
            rootfs_paths.make_directories(root, config.working_dir)
        except OSError as error:
            raise InvalidArgumentError(
                f"container {config.name}: the working directory {config.working_dir} cannot be made: {error.strerror}"
            ) from None

    def _etc(self, config: ContainerConfig, folder: Path) -> list[BindMount]:
        name = etc_files.hostname(config, platform.node())
        texts = {
            "hosts": etc_files.hosts(config, name, _host_text("/etc/hosts")),
            "resolv.conf": etc_files.resolv_conf(config, _host_text("/etc/resolv.conf")),
            "hostname": f"{name}\n",
        }
        taken = {m.target for m in config.mounts}
        binds = []
        for file, text in texts.items():
            if f"/etc/{file}" in taken:
                continue
            path = folder / file
            path.write_text(text)
            path.chmod(0o644)
            binds.append(BindMount(str(path), f"/etc/{file}"))
        return binds

    async def _binds(self, config: ContainerConfig, root: Path) -> list[BindMount]:
        found = []
        for mount in config.mounts:
            if mount.kind is MountKind.VOLUME:
                source = self._volumes.data_path(mount.source)
                if not mount.no_copy and not any(source.iterdir()):
                    await _copy_up(root, mount.target, source)
            elif mount.kind is MountKind.BIND:
                source = _bind_source(config, mount)
            else:
                continue
            if not oci_spec.is_propagation(mount.propagation):
                raise InvalidArgumentError(f"mount {mount.target}: unknown propagation {mount.propagation!r}")
            found.append(BindMount(str(source), mount.target, mount.read_only, mount.propagation))
        return found


def _bind_source(config: ContainerConfig, mount: ContainerMount) -> Path:
    source = Path(mount.source)
    if not source.is_absolute():
        raise InvalidArgumentError(f"mount {mount.target}: the source {mount.source!r} must be an absolute path")
    if not source.exists():
        if not mount.create_source:
            raise InvalidArgumentError(
                f"container {config.name}: bind source path does not exist: {source}: make it on this host first"
            )
        source.mkdir(parents=True)
    return source


async def _copy_up(root: Path, target: str, destination: Path) -> None:
    """An empty volume starts with what the image has at its mount point."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        fd = rootfs_paths.open_in_root(root_fd, target, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    finally:
        os.close(root_fd)
    try:
        finished = await process.run(
            ["cp", "-a", f"/proc/self/fd/{fd}/.", str(destination)],
            timeout_seconds=_COPY_TIMEOUT_SECONDS,
            pass_fds=(fd,),
        )
    finally:
        os.close(fd)
    if finished.code != 0:
        raise UnavailableError(f"cannot fill the volume at {target} from the image: {finished.error_message}")


def _files(config: ContainerConfig) -> list[BindMount]:
    """Secrets and configs, with the owner and mode that were asked for."""
    return [_file(f, "/run/secrets") for f in config.secrets] + [_file(f, "/") for f in config.configs]


def _file(file: FileMount, base: str) -> BindMount:
    try:
        os.chown(file.source_path, file.uid, file.gid)
        Path(file.source_path).chmod(file.mode)
    except FileNotFoundError:
        raise UnavailableError(f"the file for {file.target} is not on this host: {file.source_path}") from None
    return BindMount(file.source_path, str(PurePosixPath(base, file.target)), read_only=True)


def _tmpfs(config: ContainerConfig) -> list[TmpfsMount]:
    wanted = {target: options.split(",") if options else [] for target, options in config.tmpfs.items()}
    for mount in config.mounts:
        if mount.kind is MountKind.TMPFS:
            wanted[mount.target] = [*mount.options, *(["ro"] if mount.read_only else [])]
    found = []
    for target, options in wanted.items():
        defaults = [o for o in _TMPFS_DEFAULT if o not in options and o.removeprefix("no") not in options]
        found.append(TmpfsMount(target, (*defaults, *options)))
    return found


def _devices(config: ContainerConfig) -> list[DeviceNode]:
    if config.privileged:
        found = [_device(DeviceMapping(host_path=str(path))) for path in _host_devices()]
    else:
        found = [_device(device) for device in config.devices]
    return [d for d in found if d is not None]


def _host_devices() -> list[Path]:
    skipped = {"pts", "shm", "mqueue", "fd", "console"}
    found: list[Path] = []
    for folder, names, files in os.walk("/dev"):
        names[:] = [n for n in names if n not in skipped]
        found += [Path(folder, f) for f in files if f not in skipped]
    return [p for p in found if p.is_char_device() or p.is_block_device()]


def _device(device: DeviceMapping) -> DeviceNode | None:
    try:
        info = Path(device.host_path).stat()
    except OSError as error:
        raise InvalidArgumentError(f"device {device.host_path}: {error.strerror} on this host") from None
    if not (stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)):
        raise InvalidArgumentError(f"device {device.host_path} is not a device node")
    return DeviceNode(
        device.container_path or device.host_path,
        "c" if stat.S_ISCHR(info.st_mode) else "b",
        os.major(info.st_rdev),
        os.minor(info.st_rdev),
        stat.S_IMODE(info.st_mode),
        info.st_uid,
        info.st_gid,
        device.permissions,
    )


def _init_program() -> str:
    for path in INIT_PROGRAMS:
        if path.exists():
            return str(path)
    raise UnavailableError(
        "this host has no init for containers: install tini (its tini-static), or run without --init"
    )


def _host_text(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(errors="replace")
    return ""
