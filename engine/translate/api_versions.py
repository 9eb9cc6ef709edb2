"""How responses differ between API versions: fields that a version added or removed, in one table. Pure.

Responses are built as the newest version shows them, and ``shape`` brings them to the version of the request. A field that a version
removed is shown to older clients with the value that it had then. Fields that older clients merely do not know stay, as in Docker, unless
Docker itself hides them. Images are shaped in ``engine.translate.image``, whose fields depend on each other.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Version = tuple[int, int]
Object = dict[str, Any]


class Added(NamedTuple):
    """A field that clients before ``version`` do not see. ``*`` in the path stands for every key."""

    version: Version
    path: tuple[str, ...]


class Removed(NamedTuple):
    """A field that clients before ``version`` still see; ``value`` computes it from the whole object."""

    version: Version
    path: tuple[str, ...]
    value: Callable[[Object], Any]


Rule = Added | Removed


def _constant(value: Any) -> Callable[[Object], Any]:
    return lambda _: value


def _commit(name: str) -> Callable[[Object], Any]:
    return lambda info: info[name]["ID"]


def _is_cgroup_v1(info: Object) -> bool:
    return bool(info["CgroupVersion"] == "1" and info["MemoryLimit"])


def _with_id_aliases(container: Object) -> Object:
    """The networks, with the container's short id and host name among the aliases on those that have names."""
    endpoints: Object = container["NetworkSettings"]["Networks"]
    names = (container.get("Id", "")[:12], container["Config"].get("Hostname", ""))
    for endpoint in endpoints.values():
        if endpoint.get("DNSNames"):
            endpoint["Aliases"] = list(dict.fromkeys([*(endpoint.get("Aliases") or ()), *filter(None, names)]))
    return endpoints


RULES: Mapping[str, tuple[Rule, ...]] = {
    "info": (
        Removed((1, 25), ("SecurityOptions",), lambda info: _option_names(info["SecurityOptions"])),
        Added((1, 41), ("CgroupVersion",)),
        Added((1, 41), ("DefaultAddressPools",)),
        Removed((1, 42), ("KernelMemory",), _is_cgroup_v1),
        Removed((1, 42), ("KernelMemoryTCP",), _is_cgroup_v1),
        Added((1, 44), ("CDISpecDirs",)),
        Added((1, 46), ("Containerd",)),
        Removed((1, 47), ("RegistryConfig", "AllowNondistributableArtifactsCIDRs"), _constant([])),
        Removed((1, 47), ("RegistryConfig", "AllowNondistributableArtifactsHostnames"), _constant([])),
        Added((1, 49), ("FirewallBackend",)),
        Removed((1, 49), ("ContainerdCommit", "Expected"), _commit("ContainerdCommit")),
        Removed((1, 49), ("RuncCommit", "Expected"), _commit("RuncCommit")),
        Removed((1, 49), ("InitCommit", "Expected"), _commit("InitCommit")),
        Removed((1, 50), ("BridgeNfIptables",), _constant(False)),
        Removed((1, 50), ("BridgeNfIp6tables",), _constant(False)),
        Added((1, 50), ("DiscoveredDevices",)),
    ),
    "container": (
        Removed((1, 42), ("HostConfig", "KernelMemory"), _constant(0)),
        Removed((1, 42), ("HostConfig", "KernelMemoryTCP"), _constant(0)),
        Added((1, 43), ("HostConfig", "Annotations")),
        Removed((1, 45), ("NetworkSettings", "Networks"), _with_id_aliases),
        Added((1, 44), ("NetworkSettings", "Networks", "*", "DNSNames")),
        Added((1, 48), ("NetworkSettings", "Networks", "*", "GwPriority")),
        Added((1, 48), ("ImageManifestDescriptor",)),
    ),
    "container summary": (
        Added((1, 44), ("NetworkSettings", "Networks", "*", "DNSNames")),
        Added((1, 46), ("HostConfig", "Annotations")),
        Added((1, 48), ("NetworkSettings", "Networks", "*", "GwPriority")),
        Added((1, 48), ("ImageManifestDescriptor",)),
    ),
    "image summary": (
        Removed((1, 44), ("VirtualSize",), lambda image: image["Size"]),
        Added((1, 48), ("Manifests",)),
        Added((1, 48), ("Descriptor",)),
    ),
    "network": (Added((1, 48), ("EnableIPv4",)),),
    "disk usage": (Removed((1, 42), ("BuilderSize",), _constant(0)),),
}


def shape(kind: str, version: Version, value: Object) -> Object:
    """The response as this version promises it. ``value`` is changed."""
    rules = [rule for rule in RULES[kind] if version < rule.version]
    for rule in rules:
        if isinstance(rule, Removed):
            _set(value, rule.path, rule.value(value))
    for rule in rules:
        if isinstance(rule, Added):
            _remove(value, rule.path)
    return value


def _remove(value: Any, path: tuple[str, ...]) -> None:
    if not isinstance(value, dict):
        return
    first, *rest = path
    if not rest:
        value.pop(first, None)
        return
    for key in list(value) if first == "*" else [first]:
        _remove(value.get(key), tuple(rest))


def _set(value: Object, path: tuple[str, ...], found: Any) -> None:
    for key in path[:-1]:
        inner = value.get(key)
        if not isinstance(inner, dict):
            return
        value = inner
    value[path[-1]] = found


def _option_names(options: list[str]) -> list[str]:
    """The names alone, as before API 1.25: ``seccomp`` of ``name=seccomp,profile=builtin``."""
    return [option.partition(",")[0].removeprefix("name=") for option in options]
