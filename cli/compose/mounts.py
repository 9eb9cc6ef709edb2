"""Volumes, tmpfs, secrets and configs of a service's container, as mounts and as files to copy into it. Pure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from cli.compose.model import Application
from covey.errors import InvalidArgumentError, UnsupportedError

if TYPE_CHECKING:
    from cli.compose.container_body import ContainerRequest

Values = Mapping[str, Any]
DEFAULT_MODE = 0o444


class CopiedFile(NamedTuple):
    """A file that is copied into a container before it starts."""

    path: str
    content: str
    mode: int
    uid: int
    gid: int


def mount_fields(application: Application, service: Values, request: "ContainerRequest") -> dict[str, Any]:
    """``Binds``, ``Mounts``, ``Tmpfs`` and ``VolumesFrom``, where there are any."""
    binds, mounts = [], []
    for volume in service.get("volumes") or ():
        bind = _bind(application, volume)
        if bind:
            binds.append(bind)
        else:
            mounts.append(_mount(application, volume))
    mounts += _file_mounts(application, service)
    if service.get("use_api_socket"):
        raise UnsupportedError(f"services.{request.service}.use_api_socket is not supported: mount the daemon's socket")
    result: dict[str, Any] = {}
    if binds:
        result["Binds"] = binds
    if mounts:
        result["Mounts"] = mounts
    if service.get("tmpfs"):
        pairs = (text.partition(":") for text in service["tmpfs"])
        result["Tmpfs"] = {path: options for path, _, options in pairs}
    if service.get("volumes_from"):
        result["VolumesFrom"] = [_volumes_from(text, request) for text in service["volumes_from"]]
    return result


def _bind(application: Application, volume: Values) -> str:
    """The mount as a text of ``Binds``; empty if it needs more than that."""
    source, target = volume.get("source", ""), volume["target"]
    mode = "ro" if volume.get("read_only") else "rw"
    if volume["type"] == "volume":
        if not source or volume.get("volume"):
            return ""
        return f"{application.volumes[source]['name']}:{target}:{mode}"
    options = dict(volume.get("bind") or {})
    if (
        volume["type"] != "bind"
        or options.get("create_host_path") is False
        or set(options) & {"propagation", "recursive"}
    ):
        return ""
    selinux = f",{options['selinux']}" if options.get("selinux") else ""
    return f"{source}:{target}:{mode}{selinux}"


def _mount(application: Application, volume: Values) -> dict[str, Any]:
    kind = volume["type"]
    source = volume.get("source", "")
    if kind == "volume" and source:
        source = application.volumes[source]["name"]
    result: dict[str, Any] = {"Type": kind, "Target": volume["target"]}
    if source:
        result["Source"] = source
    for key, name in (("read_only", "ReadOnly"), ("consistency", "Consistency")):
        if volume.get(key):
            result[name] = volume[key]
    details = volume.get(kind) or {}
    if kind == "bind":
        result["BindOptions"] = _bind_options(details)
    elif kind == "volume" and details:
        result["VolumeOptions"] = {
            **({"NoCopy": True} if details.get("nocopy") else {}),
            **({"Subpath": details["subpath"]} if details.get("subpath") else {}),
            **({"Labels": details["labels"]} if details.get("labels") else {}),
        }
    elif kind == "tmpfs":
        sizes = {"SizeBytes": int(details["size"])} if details.get("size") else {}
        result["TmpfsOptions"] = {**sizes, **({"Mode": details["mode"]} if details.get("mode") else {})}
    elif kind == "image" and details.get("subpath"):
        result["ImageOptions"] = {"Subpath": details["subpath"]}
    return result


def _bind_options(details: Values) -> dict[str, Any]:
    result: dict[str, Any] = {"CreateMountpoint": True} if details.get("create_host_path") is not False else {}
    if details.get("propagation"):
        result["Propagation"] = details["propagation"]
    match details.get("recursive"):
        case "disabled":
            result["NonRecursive"] = True
        case "writable":
            result["ReadOnlyNonRecursive"] = True
        case "readonly":
            result["ReadOnlyForceRecursive"] = True
    return result


def _volumes_from(text: str, request: "ContainerRequest") -> str:
    if text.startswith("container:"):
        return text.removeprefix("container:")
    name, separator, mode = text.partition(":")
    return f"{request.containers.get(name, name)}{separator}{mode}"


def _file_mounts(application: Application, service: Values) -> list[dict[str, Any]]:
    """Secrets and configs of files are mounted read-only."""
    result = []
    for kind, declared in (("secrets", application.secrets), ("configs", application.configs)):
        for reference in service.get(kind) or ():
            found = declared[reference["source"]]
            if found.get("external"):
                raise UnsupportedError(
                    f"unsupported external {kind.removesuffix('s')} {found['name']}: give it as a file, content or variable"
                )
            if found.get("driver") or found.get("template_driver"):
                raise UnsupportedError(f"{kind}.{reference['source']}: drivers need a cluster: use a stack")
            if found.get("file"):
                target = _target(kind, reference)
                mount = {"Type": "bind", "Source": found["file"], "Target": target, "ReadOnly": True}
                result.append({**mount, "BindOptions": {}})
    return result


def copied_files(application: Application, service: Values) -> list[CopiedFile]:
    """Secrets and configs of a content or a variable, which are copied into the container."""
    result = []
    for kind, declared in (("secrets", application.secrets), ("configs", application.configs)):
        for reference in service.get(kind) or ():
            found = declared[reference["source"]]
            if found.get("file") or found.get("external"):
                continue
            if "content" in found:
                content = str(found["content"])
            else:
                name = str(found.get("environment", ""))
                if name not in application.environment:
                    raise InvalidArgumentError(
                        f'environment variable "{name}" required by {kind.removesuffix("s")} "{reference["source"]}" is not set'
                    )
                content = application.environment[name]
            mode = int(reference["mode"], 8) if reference.get("mode") else DEFAULT_MODE
            owner = [int(reference[key]) if reference.get(key) else 0 for key in ("uid", "gid")]
            result.append(CopiedFile(_target(kind, reference), content, mode, *owner))
    return result


def _target(kind: str, reference: Values) -> str:
    default = f"/run/secrets/{reference['source']}" if kind == "secrets" else f"/{reference['source']}"
    target = str(reference.get("target") or default)
    if target.startswith("/"):
        return target
    return f"/run/secrets/{target}" if kind == "secrets" else f"/{target}"
