"""Mounts of a container's bundle: binds, volumes, tmpfs, secrets and configs, and the files of /etc.

Invariant: a bind source that is missing is refused, unless the user asked to create it (`agent.container.mount_sources`).
Called by `agent.container.bundle` after the root filesystem is mounted.
"""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path, PurePosixPath

from agent.container import etc_files
from agent.container.model import ContainerConfig, ContainerMount, FileMount, MountKind
from agent.container.mount_sources import MountSources
from agent.runtime import oci_spec
from agent.runtime.oci_spec import BindMount, TmpfsMount
from covey.errors import InvalidArgumentError, UnavailableError, UnsupportedError

_TMPFS_DEFAULT_OPTIONS = ("noexec", "nosuid", "nodev")
ETC_FILES = ("hosts", "resolv.conf", "hostname")
_RECURSIVE_READ_ONLY_KERNEL = (5, 12)


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


async def user_binds(config: ContainerConfig, sources: MountSources) -> list[BindMount]:
    """The binds, volumes and images of the configuration."""
    binds = []
    for number, mount in enumerate(config.mounts):
        if mount.kind is MountKind.TMPFS:
            continue
        if not oci_spec.is_propagation(mount.propagation):
            raise InvalidArgumentError(f"mount {mount.target}: unknown propagation {mount.propagation!r}")
        source = await sources.source(config, mount, number)
        binds.append(
            BindMount(
                str(source),
                mount.target,
                read_only=mount.read_only or mount.kind is MountKind.IMAGE,
                propagation=mount.propagation,
                recursive=not mount.non_recursive,
                read_only_recursive=_read_only_recursive(mount),
            )
        )
    return binds


def _read_only_recursive(mount: ContainerMount) -> bool:
    """Whether mounts below a read-only bind become read-only too: wherever the kernel can, unless the user says otherwise."""
    if mount.kind is not MountKind.BIND or not mount.read_only or mount.non_recursive or mount.read_only_non_recursive:
        return False
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2] if part.isdigit())
    supported = release >= _RECURSIVE_READ_ONLY_KERNEL
    if mount.read_only_force_recursive and not supported:
        raise UnsupportedError(
            f"mount {mount.target}: read-only mounts below it (ReadOnlyForceRecursive) need Linux 5.12 or later"
        )
    return supported


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
