"""Mounts of a container's bundle: binds, volumes, tmpfs, secrets and configs, and the files of /etc.

Invariant: a bind source that is missing is refused, unless the user asked to create it. Called by
`agent.container.bundle` after the root filesystem is mounted.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path, PurePosixPath

from agent.container import etc_files
from agent.container.model import ContainerConfig, ContainerMount, FileMount, MountKind
from agent.runtime import oci_spec, process, rootfs_paths
from agent.runtime.oci_spec import BindMount, TmpfsMount
from agent.volume.local import VolumeStore
from covey.errors import InvalidArgumentError, UnavailableError

_TMPFS_DEFAULT_OPTIONS = ("noexec", "nosuid", "nodev")
ETC_FILES = ("hosts", "resolv.conf", "hostname")
_COPY_TIMEOUT_SECONDS = 600.0


def etc_binds(config: ContainerConfig, folder: Path, host_name: str) -> list[BindMount]:
    """Write /etc/hosts, resolv.conf and hostname to `folder` and bind them, except those that the user mounts."""
    name = etc_files.hostname(config, host_name)
    texts = {
        "hosts": etc_files.hosts(config, name, _host_text("/etc/hosts")),
        "resolv.conf": etc_files.resolv_conf(config, _host_text("/etc/resolv.conf")),
        "hostname": f"{name}\n",
    }
    mounted = {m.target for m in config.mounts}
    binds = []
    for file, text in texts.items():
        if f"/etc/{file}" in mounted:
            continue
        path = folder / file
        path.write_text(text)
        path.chmod(0o644)
        binds.append(BindMount(str(path), f"/etc/{file}"))
    return binds


def joined_etc_binds(config: ContainerConfig, folder: Path) -> list[BindMount]:
    """The files of /etc of the container whose network this one joins, in its `folder`."""
    mounted = {m.target for m in config.mounts}
    return [
        BindMount(str(folder / file), f"/etc/{file}")
        for file in ETC_FILES
        if f"/etc/{file}" not in mounted and (folder / file).exists()
    ]


async def user_binds(config: ContainerConfig, root: Path, volumes: VolumeStore) -> list[BindMount]:
    """The binds and volumes of the configuration. An empty volume gets the image's files at its target."""
    binds = []
    for mount in config.mounts:
        if mount.kind is MountKind.VOLUME:
            source = volumes.data_path(mount.source)
            if not mount.no_copy and not any(source.iterdir()):
                await _copy_from_image(root, mount.target, source)
        elif mount.kind is MountKind.BIND:
            source = _bind_source(config, mount)
        else:
            continue
        if not oci_spec.is_propagation(mount.propagation):
            raise InvalidArgumentError(f"mount {mount.target}: unknown propagation {mount.propagation!r}")
        binds.append(BindMount(str(source), mount.target, mount.read_only, mount.propagation))
    return binds


def secret_binds(config: ContainerConfig) -> list[BindMount]:
    """Secrets and configs. Sets the owner and mode of their files."""
    secrets = [_file_bind(file, "/run/secrets") for file in config.secrets]
    return secrets + [_file_bind(file, "/") for file in config.configs]


def tmpfs_mounts(config: ContainerConfig) -> list[TmpfsMount]:
    """Tmpfs mounts of both kinds (`--tmpfs` and `--mount type=tmpfs`), with Docker's default options."""
    options_by_target = {target: options.split(",") if options else [] for target, options in config.tmpfs.items()}
    for mount in config.mounts:
        if mount.kind is MountKind.TMPFS:
            options_by_target[mount.target] = [*mount.options, *(["ro"] if mount.read_only else [])]
    mounts = []
    for target, options in options_by_target.items():
        defaults = [o for o in _TMPFS_DEFAULT_OPTIONS if o not in options and o.removeprefix("no") not in options]
        mounts.append(TmpfsMount(target, (*defaults, *options)))
    return mounts


def _bind_source(config: ContainerConfig, mount: ContainerMount) -> Path:
    source = Path(mount.source)
    if not source.is_absolute():
        raise InvalidArgumentError(f"mount {mount.target}: the source {mount.source!r} must be an absolute path")
    if not source.exists():
        if not mount.create_source:
            raise InvalidArgumentError(
                f"container {config.name}: bind source path does not exist: {source}: create it on this host first"
            )
        source.mkdir(parents=True)
    return source


async def _copy_from_image(root: Path, target: str, destination: Path) -> None:
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        fd = rootfs_paths.open_in_root(root_fd, target, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return  # the image has no directory there
    finally:
        os.close(root_fd)
    try:
        result = await process.run(
            ["cp", "-a", f"/proc/self/fd/{fd}/.", str(destination)],
            timeout_seconds=_COPY_TIMEOUT_SECONDS,
            pass_fds=(fd,),
        )
    finally:
        os.close(fd)
    if result.code != 0:
        raise UnavailableError(f"cannot fill the volume at {target} from the image: {result.error_message}")


def _file_bind(file: FileMount, base: str) -> BindMount:
    try:
        os.chown(file.source_path, file.uid, file.gid)
        Path(file.source_path).chmod(file.mode)
    except FileNotFoundError:
        raise UnavailableError(f"the file for {file.target} is not on this host: {file.source_path}") from None
    return BindMount(file.source_path, str(PurePosixPath(base, file.target)), read_only=True)


def _host_text(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(errors="replace")
    return ""
