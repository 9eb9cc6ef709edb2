"""The ``volumes`` and ``tmpfs`` keys of a Compose service as mounts. Pure."""

import posixpath
from collections.abc import Mapping
from typing import Any, NamedTuple

from cli.stack.section import Section
from compose.stack.labels import STACK_NAMESPACE_LABEL
from covey.errors import InvalidArgumentError
from covey.quantities import parse_bytes

_FLAGS = {"ro", "rw", "nocopy"}
_PROPAGATION = {"private", "rprivate", "shared", "rshared", "slave", "rslave"}
_RECURSIVE = {"disabled": "NonRecursive", "writable": "ReadOnlyNonRecursive", "readonly": "ReadOnlyForceRecursive"}
Mount = dict[str, Any]


class ManifestPaths(NamedTuple):
    """The directory of relative paths in a Compose file, and the value of ``~``."""

    directory: str
    home: str

    def absolute(self, path: str) -> str:
        if path == "~" or path.startswith("~/"):
            path = self.home + path[1:]
        return posixpath.normpath(posixpath.join(self.directory, path))


def service_mounts(
    stack: str, service: Section, volumes: Mapping[str, Mapping[str, Any]], paths: ManifestPaths
) -> list[Mount]:
    """The mounts of a service; ``volumes`` are the top-level volumes: name, external, labels, driver, options."""
    result = [_mount(stack, item, volumes, paths) for item in service.sections("volumes", parse_short_mount)]
    return result + [parse_tmpfs(text, service.key_path("tmpfs")) for text in service.text_list("tmpfs", one=True)]


def parse_short_mount(text: str, path: str) -> dict[str, Any]:
    """The long form of ``SOURCE:TARGET[:OPTIONS]`` or ``TARGET``; a source that begins with ``/``, ``.`` or ``~`` is a path."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise InvalidArgumentError(f"{path}: {text!r} must be [SOURCE:]TARGET[:OPTIONS]")
    if len(parts) == 1:
        return {"type": "volume", "target": text}
    source, target, *rest = parts
    result: dict[str, Any] = {"source": source, "target": target, "type": "bind" if is_path(source) else "volume"}
    for option in (rest[0] if rest else "").split(","):
        if option in ("", "rw"):
            continue
        if option == "ro":
            result["read_only"] = True
        elif option == "nocopy" and result["type"] == "volume":
            result["volume"] = {"nocopy": True}
        elif option in _PROPAGATION and result["type"] == "bind":
            result["bind"] = {"propagation": option}
        else:
            raise InvalidArgumentError(f"{path}: unknown option {option!r} in {text!r}")
    return result


def is_path(source: str) -> bool:
    return source.startswith(("/", ".", "~"))


def parse_tmpfs(text: str, path: str) -> Mount:
    """A tmpfs mount from ``TARGET[:size=64m,mode=1770]``."""
    target, _, options = text.partition(":")
    if not target.startswith("/"):
        raise InvalidArgumentError(f"{path}: {text!r} must begin with an absolute path")
    values: Mount = {}
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if key == "size":
            values["SizeBytes"] = parse_bytes(value)
        elif key == "mode" and value and set(value) <= set("01234567"):
            values["Mode"] = int(value, 8)
        else:
            raise InvalidArgumentError(f"{path}: unknown option {option!r} in {text!r}; use size or mode")
    return {"Type": "tmpfs", "Target": target, **({"TmpfsOptions": values} if values else {})}


def _mount(stack: str, item: Section, volumes: Mapping[str, Mapping[str, Any]], paths: ManifestPaths) -> Mount:
    kind = item.choice("type", ("volume", "bind", "tmpfs", "image"), "volume")
    source, target = item.text("source"), item.text("target")
    if not target.startswith("/"):
        raise InvalidArgumentError(
            f"{item.key_path('target')} must be an absolute path in the container, not {target!r}"
        )
    mount: Mount = {"Type": kind, "Target": target, **({"ReadOnly": True} if item.boolean("read_only") else {})}
    if kind == "bind":
        mount.update(_bind(item, source, paths))
    elif kind == "volume":
        mount.update(_volume(stack, item, source, volumes))
    elif kind == "image":
        mount.update(_image(item, source))
    else:
        mount.update(_tmpfs(item, source))
    item.reject_unread()
    return mount


def _bind(item: Section, source: str, paths: ManifestPaths) -> Mount:
    if not source:
        raise InvalidArgumentError(f"{item.path}: a bind mount needs a source, a path on the host")
    options = item.section("bind")
    values: Mount = {
        "Propagation": options.text("propagation"),
        "CreateMountpoint": options.boolean("create_host_path"),
    }
    recursive = options.choice("recursive", ("enabled", "disabled", "writable", "readonly"), "enabled")
    if recursive != "enabled":
        values[_RECURSIVE[recursive]] = True
    options.reject_unread()
    values = {key: value for key, value in values.items() if value}
    return {"Source": paths.absolute(source), **({"BindOptions": values} if values else {})}


def _image(item: Section, source: str) -> Mount:
    if not source:
        raise InvalidArgumentError(f"{item.path}: an image mount needs a source, the name of an image")
    options = item.section("image")
    subpath = options.text("subpath")
    options.reject_unread()
    return {"Source": source, **({"ImageOptions": {"Subpath": subpath}} if subpath else {})}


def _volume(stack: str, item: Section, source: str, volumes: Mapping[str, Mapping[str, Any]]) -> Mount:
    options = item.section("volume")
    volume_options: Mount = {"NoCopy": options.boolean("nocopy"), "Subpath": options.text("subpath")}
    options.reject_unread()
    volume_options = {key: value for key, value in volume_options.items() if value}
    if not source:
        return {"VolumeOptions": volume_options} if volume_options else {}
    if source not in volumes:
        raise InvalidArgumentError(
            f"{item.path} refers to the volume {source!r}, which is not under the top-level volumes"
        )
    volume = volumes[source]
    if not volume["external"]:
        volume_options["Labels"] = {**volume["labels"], STACK_NAMESPACE_LABEL: stack}
        if volume["driver"] or volume["options"]:
            driver = {"Name": volume["driver"], "Options": volume["options"]}
            volume_options["DriverConfig"] = {key: value for key, value in driver.items() if value}
    return {"Source": volume["name"], **({"VolumeOptions": volume_options} if volume_options else {})}


def _tmpfs(item: Section, source: str) -> Mount:
    if source:
        raise InvalidArgumentError(f"{item.key_path('source')}: a tmpfs has no source")
    options = item.section("tmpfs")
    values = {"SizeBytes": options.size("size"), "Mode": options.integer("mode")}
    options.reject_unread()
    values = {key: value for key, value in values.items() if value}
    return {"TmpfsOptions": values} if values else {}
