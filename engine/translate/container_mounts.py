"""Mounts of a container as `docker inspect` shows them: mount points, and the `Binds` and `Mounts` that were asked for."""

from collections.abc import Callable
from typing import Any

from agent.container.model import ContainerMount, MountKind, MountOrigin
from engine.translate.json_fields import omit_empty

VolumePath = Callable[[str], str]
"""The host's directory of a volume, "" if the volume is gone."""
_LOCAL = "local"


def mount_point(mount: ContainerMount, volume_path: VolumePath) -> dict[str, Any]:
    """One entry of `Mounts` at the top of an inspection."""
    volume = mount.kind is MountKind.VOLUME
    return {
        "Type": str(mount.kind),
        **omit_empty(Name=mount.source if volume else ""),
        "Source": volume_path(mount.source) if volume else mount.source,
        "Destination": mount.target,
        **omit_empty(Driver=(mount.driver or _LOCAL) if volume else ""),
        "Mode": mount.mode or ("z" if volume and mount.origin in _LABELLED and not mount.anonymous else ""),
        "RW": not mount.read_only,
        "Propagation": mount.propagation if mount.kind is MountKind.BIND else "",
    }


_LABELLED = (MountOrigin.BIND, MountOrigin.MOUNT)
"""Docker labels the volumes that these options name as shared, and shows that in `Mode`."""


def bind_strings(mounts: tuple[ContainerMount, ...]) -> list[str] | None:
    """`HostConfig.Binds`, as the user wrote them."""
    return [_bind_string(mount) for mount in mounts if mount.origin is MountOrigin.BIND] or None


def mount_specs(mounts: tuple[ContainerMount, ...]) -> list[dict[str, Any]]:
    """`HostConfig.Mounts`, as the user wrote them."""
    return [_mount_spec(mount) for mount in mounts if mount.origin is MountOrigin.MOUNT]


def _bind_string(mount: ContainerMount) -> str:
    parts = (mount.target,) if mount.anonymous or not mount.source else (mount.source, mount.target)
    return ":".join((*parts, mount.mode) if mount.mode else parts)


def _mount_spec(mount: ContainerMount) -> dict[str, Any]:
    return {
        "Type": str(mount.kind),
        **omit_empty(Source="" if mount.anonymous else mount.source),
        "Target": mount.target,
        **omit_empty(ReadOnly=mount.read_only, Consistency=mount.consistency),
        **_kind_options(mount),
    }


def _kind_options(mount: ContainerMount) -> dict[str, Any]:
    """The options of the mount's kind, if any was given."""
    if mount.kind is MountKind.BIND:
        options = omit_empty(
            Propagation="" if mount.propagation == "rprivate" else mount.propagation,
            NonRecursive=mount.non_recursive,
            CreateMountpoint=mount.create_source,
            ReadOnlyNonRecursive=mount.read_only_non_recursive,
            ReadOnlyForceRecursive=mount.read_only_force_recursive,
        )
        return {"BindOptions": options} if options else {}
    if mount.kind is MountKind.VOLUME:
        driver = {"Name": mount.driver, **({"Options": mount.driver_options} if mount.driver_options else {})}
        options = omit_empty(
            NoCopy=mount.no_copy,
            Labels=mount.driver_labels or None,
            DriverConfig=driver if mount.driver or mount.driver_options else None,
            Subpath=mount.subpath,
        )
        return {"VolumeOptions": options} if options else {}
    if mount.kind is MountKind.IMAGE:
        return {"ImageOptions": {"Subpath": mount.subpath}} if mount.subpath else {}
    return {"TmpfsOptions": options} if (options := _tmpfs_options(mount.options)) else {}


def _tmpfs_options(words: tuple[str, ...]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name == "size" and value.isdecimal():
            options["SizeBytes"] = int(value)
        elif name == "mode" and value:
            options["Mode"] = int(value, 8)
        else:
            options.setdefault("Options", []).append([name, value] if value else [name])
    return options
