"""Mounts of a new container: `Mounts`, `Tmpfs`, and the volumes of `VolumesFrom` and `Config.Volumes`.

`Binds` are in ``binds``. Invariant: a target has one mount, and is a clean absolute path other than `/`.
"""

import posixpath
import re
from collections.abc import Iterable, Sequence
from typing import Any

from agent.container.model import ContainerMount, MountKind, MountOrigin
from covey.errors import InvalidArgumentError
from engine.translate.container_create import binds
from engine.translate.json_fields import JsonFields

_PROPAGATIONS = frozenset({"", "private", "rprivate", "shared", "rshared", "slave", "rslave"})
_TMPFS_FLAGS = frozenset(
    (
        "async", "atime", "bind", "defaults", "dev", "diratime", "dirsync", "exec", "iversion", "loud", "mand",
        "noatime", "nodev", "nodiratime", "noexec", "noiversion", "nomand", "norelatime", "nostrictatime",
        "nosuid", "private", "rbind", "relatime", "remount", "ro", "rprivate", "rshared", "rslave",
        "runbindable", "rw", "shared", "silent", "slave", "strictatime", "suid", "sync", "unbindable",
    )
)  # fmt: skip
_TMPFS_VALUES = frozenset(["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"])
_OPTIONS_OF = {
    MountKind.BIND: "BindOptions",
    MountKind.VOLUME: "VolumeOptions",
    MountKind.TMPFS: "TmpfsOptions",
    MountKind.IMAGE: "ImageOptions",
}
_SOURCE_MODE = re.compile(r"([^:]+)(?::(.+))?")


def read_mounts(fields: JsonFields) -> dict[str, Any]:
    """The fields of the container's configuration."""
    driver = fields.text("VolumeDriver")
    mounts = (
        *(binds.parse_bind(text, driver) for text in fields.text_list("Binds")),
        *fields.read_all("Mounts", _read_mount),
    )
    tmpfs = fields.text_map("Tmpfs")
    for target, options in tmpfs.items():
        _check_tmpfs(target, options)
    _refuse_duplicates((*(mount.target for mount in mounts), *map(posixpath.normpath, tmpfs)))
    volumes_from = fields.text_list("VolumesFrom")
    for text in volumes_from:
        _check_volumes_from(text)
    return {"mounts": mounts, "tmpfs": tmpfs, "volume_driver": driver, "volumes_from": volumes_from}


def volume_path_mounts(paths: Sequence[str], taken: Iterable[str]) -> tuple[ContainerMount, ...]:
    """Anonymous volumes for the paths of `Config.Volumes` where nothing else is mounted."""
    occupied = set(taken)
    return tuple(
        ContainerMount(kind=MountKind.VOLUME, target=target, origin=MountOrigin.VOLUME_PATH)
        for target in dict.fromkeys(_volume_path(path) for path in paths)
        if target not in occupied
    )


def check_target(target: str) -> str:
    """The clean path. Raises InvalidArgumentError in Docker's words."""
    if not target.startswith("/"):
        raise InvalidArgumentError(f"invalid mount path: '{target}' mount path must be absolute")
    clean = posixpath.normpath(target.replace("//", "/"))
    if clean == "/":
        raise InvalidArgumentError("invalid specification: destination can't be '/'")
    return clean


def _volume_path(path: str) -> str:
    return check_target(path if path.startswith("/") else f"/{path}")


def _refuse_duplicates(targets: Iterable[str]) -> None:
    seen: set[str] = set()
    for target in targets:
        if target in seen:
            raise InvalidArgumentError(f"Duplicate mount point: {target}")
        seen.add(target)


def _check_volumes_from(text: str) -> None:
    match = _SOURCE_MODE.fullmatch(text)
    if match is None:
        raise InvalidArgumentError(f"invalid volumes-from specification: {text}")
    if match[2]:
        binds.check_mode(match[2])


def _check_tmpfs(target: str, options: str) -> None:
    check_target(target)
    for option in options.split(",") if options else ():
        name, equals, _ = option.partition("=")
        if name not in (_TMPFS_VALUES if equals else _TMPFS_FLAGS):
            raise InvalidArgumentError(f'invalid tmpfs option ["{option}"]')


def _read_mount(fields: JsonFields) -> ContainerMount:
    text = fields.text("Type")
    try:
        return _mount(fields, text)
    except InvalidArgumentError as error:
        if error.message.startswith(fields.path):  # a type error names the field already
            raise
        raise InvalidArgumentError(f'invalid mount config for type "{text}": {error.message}') from None


def _mount(fields: JsonFields, text: str) -> ContainerMount:
    if text not in tuple(MountKind):
        raise InvalidArgumentError("mount type unknown")
    kind = MountKind(text)
    source, target = fields.text("Source"), fields.text("Target")
    if not target:
        raise InvalidArgumentError("field Target must not be empty")
    values: dict[str, Any] = {
        "kind": kind,
        "target": check_target(target),
        "source": _source(kind, source),
        "read_only": fields.flag("ReadOnly"),
        "consistency": fields.text("Consistency"),
        "origin": MountOrigin.MOUNT,
    }
    for owner, name in _OPTIONS_OF.items():
        options = fields.child(name)
        if options is None:
            continue
        if owner is not kind:
            raise InvalidArgumentError(f"field {name} must not be specified")
        values |= _OPTION_READERS[kind](options)
        options.refuse_unsupported()
    return ContainerMount(**values)


def _source(kind: MountKind, source: str) -> str:
    if kind is MountKind.TMPFS:
        if source:
            raise InvalidArgumentError("field Source must not be specified")
        return ""
    if kind is MountKind.VOLUME:
        return source
    if not source:
        raise InvalidArgumentError("field Source must not be empty")
    if kind is MountKind.BIND and not source.startswith("/"):
        raise InvalidArgumentError(f"invalid mount path: '{source}' mount path must be absolute")
    return source


def _bind_options(options: JsonFields) -> dict[str, Any]:
    propagation = options.text("Propagation")
    if propagation not in _PROPAGATIONS:
        raise InvalidArgumentError(f"invalid propagation mode: {propagation}")
    return {
        "propagation": propagation or "rprivate",
        "non_recursive": options.flag("NonRecursive"),
        "create_source": options.flag("CreateMountpoint"),
        "read_only_non_recursive": options.flag("ReadOnlyNonRecursive"),
        "read_only_force_recursive": options.flag("ReadOnlyForceRecursive"),
    }


def _volume_options(options: JsonFields) -> dict[str, Any]:
    values: dict[str, Any] = {
        "no_copy": options.flag("NoCopy"),
        "driver_labels": options.text_map("Labels"),
        "subpath": options.text("Subpath"),
    }
    driver = options.child("DriverConfig")
    if driver is not None:
        values |= {"driver": driver.text("Name"), "driver_options": driver.text_map("Options")}
        driver.refuse_unsupported()
    return values


def _tmpfs_options(options: JsonFields) -> dict[str, Any]:
    size, mode = options.number("SizeBytes"), options.number("Mode")
    if size < 0:
        raise InvalidArgumentError(f"invalid tmpfs size: {size}")
    flags = []
    for option in options.raw("Options") or ():
        if (
            not isinstance(option, list)
            or not 1 <= len(option) <= 2
            or not all(isinstance(part, str) for part in option)
        ):
            raise InvalidArgumentError(f"invalid tmpfs option {option!r}")
        flags.append("=".join(option))
    return {
        "options": (
            *([f"size={size}"] if size else []),
            *([f"mode={mode:o}"] if mode else []),
            *flags,
        )
    }


def _image_options(options: JsonFields) -> dict[str, Any]:
    return {"subpath": options.text("Subpath")}


_OPTION_READERS = {
    MountKind.BIND: _bind_options,
    MountKind.VOLUME: _volume_options,
    MountKind.TMPFS: _tmpfs_options,
    MountKind.IMAGE: _image_options,
}
