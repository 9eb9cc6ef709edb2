"""Volumes and tmpfs of a canonical service as mounts of its spec. Pure."""

from collections.abc import Mapping
from typing import Any

from compose.stack.labels import labelled, scoped
from covey.errors import InvalidArgumentError
from covey.quantities import parse_bytes

Values = Mapping[str, Any]
_FOREIGN_OPTIONS = {
    "bind": ("volume", "tmpfs"),
    "volume": ("bind", "tmpfs"),
    "tmpfs": ("bind", "volume"),
    "npipe": ("volume", "tmpfs"),
    "image": ("bind", "volume", "tmpfs"),
    "cluster": ("bind", "tmpfs"),
}
_RECURSIVE = {"disabled": "NonRecursive", "writable": "ReadOnlyNonRecursive", "readonly": "ReadOnlyForceRecursive"}
_OCTAL = frozenset("01234567")


def service_mounts(stack: str, service: Values, volumes: Values) -> list[dict[str, Any]]:
    """The mounts of a service.

    Args:
        stack: the stack's name.
        service: the canonical service.
        volumes: the canonical top-level volumes.

    Raises:
        InvalidArgumentError: options of another type, or a volume that is not declared.
    """
    mounts = [_mount(stack, volume, volumes) for volume in service.get("volumes") or ()]
    return mounts + [tmpfs_mount(text) for text in service.get("tmpfs") or ()]


def _mount(stack: str, volume: Values, volumes: Values) -> dict[str, Any]:
    kind = volume.get("type", "")
    if kind not in _FOREIGN_OPTIONS:
        raise InvalidArgumentError("volume type must be volume, bind, tmpfs, npipe, or cluster")
    for other in _FOREIGN_OPTIONS[kind]:
        if other in volume:
            raise InvalidArgumentError(f"{other} options are incompatible with type {kind}")
    mount = {
        "Type": kind,
        "Source": volume.get("source", ""),
        "Target": volume.get("target", ""),
        "ReadOnly": volume.get("read_only", False),
        "Consistency": volume.get("consistency", ""),
    }
    if kind == "bind":
        mount |= _bind_options(volume.get("bind", {}))
    elif kind == "image" and (subpath := volume.get("image", {}).get("subpath")):
        mount["ImageOptions"] = {"Subpath": subpath}
    elif kind == "tmpfs":
        mount |= _tmpfs_options(volume)
    elif kind == "cluster":
        mount |= _cluster_volume(stack, volume, volumes)
    elif kind == "volume":
        mount |= _volume_options(stack, volume, volumes)
    return {key: value for key, value in mount.items() if value not in ("", False)}


def _bind_options(bind: Values) -> dict[str, Any]:
    recursive = _RECURSIVE.get(bind.get("recursive", ""), "")
    options = {
        "Propagation": bind.get("propagation"),
        "CreateMountpoint": bind.get("create_host_path"),
        **({recursive: True} if recursive else {}),
    }
    options = {key: value for key, value in options.items() if value}
    return {"BindOptions": options} if options else {}


def _tmpfs_options(volume: Values) -> dict[str, Any]:
    if volume.get("source"):
        raise InvalidArgumentError("invalid tmpfs source, source must be empty")
    tmpfs = volume.get("tmpfs", {})
    options = {"SizeBytes": int(tmpfs.get("size") or 0), "Mode": tmpfs.get("mode", 0)}
    options = {key: value for key, value in options.items() if value}
    return {"TmpfsOptions": options} if options else {}


def _volume_options(stack: str, volume: Values, volumes: Values) -> dict[str, Any]:
    source = volume.get("source", "")
    own = volume.get("volume", {})
    options: dict[str, Any] = {}
    if own.get("nocopy"):
        options["NoCopy"] = True
    if own.get("subpath"):
        options["Subpath"] = own["subpath"]
    if not source:
        return {"VolumeOptions": options} if options else {}
    declared = _declared(source, volumes)
    name = declared.get("name") or scoped(stack, source)
    if declared.get("external"):
        return {"Source": name, "VolumeOptions": options}
    options["Labels"] = labelled(stack, declared.get("labels"))
    if declared.get("driver") or declared.get("driver_opts"):
        driver = {"Name": declared.get("driver"), "Options": declared.get("driver_opts")}
        options["DriverConfig"] = {key: value for key, value in driver.items() if value}
    return {"Source": name, "VolumeOptions": options}


def _cluster_volume(stack: str, volume: Values, volumes: Values) -> dict[str, Any]:
    """A cluster volume or a group of them (``group:NAME``)."""
    source = volume.get("source", "")
    if source.startswith("group:"):
        return {"ClusterOptions": {}}
    declared = _declared(source, volumes)
    return {"Source": declared.get("name") or scoped(stack, source), "ClusterOptions": {}}


def _declared(source: str, volumes: Values) -> Values:
    if source not in volumes:
        raise InvalidArgumentError(f'undefined volume "{source}"')
    declared: Values = volumes[source] or {}
    return declared


def tmpfs_mount(text: str) -> dict[str, Any]:
    """A tmpfs mount from ``TARGET[:size=64m,mode=1770]``.

    Raises:
        InvalidArgumentError: a relative target, or an option that a mount of a service does not have.
    """
    target, _, options = text.partition(":")
    if not target.startswith("/"):
        raise InvalidArgumentError(f"tmpfs {text!r} must begin with an absolute path")
    values: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if key == "size":
            values["SizeBytes"] = parse_bytes(value)
        elif key == "mode" and value and set(value) <= _OCTAL:
            values["Mode"] = int(value, 8)
        else:
            raise InvalidArgumentError(f"tmpfs {text!r}: unknown option {option!r}; use size or mode")
    return {"Type": "tmpfs", "Target": target, **({"TmpfsOptions": values} if values else {})}
