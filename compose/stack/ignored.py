"""Keys of a stack file that have no meaning on a cluster, and the notice that names them all at once. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from compose.errors import Location
from compose.interpolation import PathPattern, joined, matches
from compose.nodes import ListNode, MappingNode, Node, plain

UNSUPPORTED = (
    "build",
    "cgroup_parent",
    "cgroupns_mode",
    "devices",
    "domainname",
    "external_links",
    "ipc",
    "links",
    "mac_address",
    "network_mode",
    "pid",
    "privileged",
    "restart",
    "security_opt",
    "shm_size",
    "userns_mode",
)
NEWER = (
    "annotations",
    "attach",
    "blkio_config",
    "cgroup",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpuset",
    "develop",
    "device_cgroup_rules",
    "gpus",
    "mem_swappiness",
    "memswap_limit",
    "oom_kill_disable",
    "platform",
    "post_start",
    "pre_stop",
    "pull_policy",
    "pull_refresh_after",
    "runtime",
    "storage_opt",
    "use_api_socket",
    "uts",
    "volumes_from",
)
"""Keys that only the Compose Specification has."""
DEPRECATED = {
    "container_name": "Setting the container name is not supported.",
    "expose": (
        "Exposing ports is unnecessary - services on the same network can access each other's containers on any port."
    ),
}

_NESTED: Mapping[PathPattern, tuple[str, ...]] = {
    ("services", "*", "networks", "*"): (
        "gw_priority",
        "interface_name",
        "ipv4_address",
        "ipv6_address",
        "link_local_ips",
        "mac_address",
        "priority",
    ),
    ("services", "*", "ports", "*"): ("app_protocol", "name"),
    ("services", "*", "volumes", "*"): ("consistency",),
    ("services", "*", "volumes", "*", "bind"): ("selinux",),
    ("services", "*", "volumes", "*", "volume"): ("labels",),
    ("services", "*", "deploy", "resources", "reservations"): ("devices",),
    (): ("name",),
    ("networks", "*"): ("enable_ipv6",),
    ("networks", "*", "ipam"): ("options",),
    ("networks", "*", "ipam", "config", "*"): ("aux_addresses", "gateway", "ip_range"),
}
"""Keys within sections, by the path of the section."""
_OBJECTS = ("networks", "secrets", "configs")
_OF_EXTERNAL = ("name", "external")
"""The keys that an external object has; volumes may have no others."""


_EMPTY: tuple[object, ...] = (None, "", False, [], {})


def has_no_meaning(key: str, value: object) -> bool:
    """Whether a key of a service with this value has no effect on a cluster."""
    return value not in _EMPTY and (key in UNSUPPORTED or key in NEWER or key in DEPRECATED)


def ignored_keys(services: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """The unsupported and the deprecated keys that services use, sorted."""
    used = {key for service in services.values() for key, value in service.items() if value not in _EMPTY}
    return sorted(used & {*UNSUPPORTED, *NEWER}), sorted(used & set(DEPRECATED))


def ignored_nested(content: MappingNode) -> list[tuple[str, Location]]:
    """The paths of keys within sections that have no effect on a cluster, and their places, in the order of the file.

    Args:
        content: the canonical files.
    """
    found = [(joined(path), place) for path, place in _nested((), content)]
    return sorted(found, key=lambda item: (item[1].file, item[1].line, item[1].column))


def _nested(path: tuple[str, ...], node: Node) -> Iterator[tuple[tuple[str, ...], Location]]:
    if isinstance(node, ListNode):
        for index, item in enumerate(node.items):
            yield from _nested((*path, str(index)), item)
    elif isinstance(node, MappingNode):
        for key in _ignored_of(path, node):
            yield (*path, key), _place(node, key)
        for key, item in node.items.items():
            yield from _nested((*path, key), item)


def _ignored_of(path: tuple[str, ...], node: MappingNode) -> list[str]:
    used = [key for key, item in node.items.items() if plain(item) not in _EMPTY and not key.startswith("x-")]
    if len(path) == 2 and path[0] in _OBJECTS and "external" in used:
        return [key for key in used if key not in _OF_EXTERNAL]
    found = [key for pattern, keys in _NESTED.items() if matches(pattern, path) for key in keys if key in used]
    without_ipv4 = len(path) == 2 and path[0] == "networks" and _is_false(node.get("enable_ipv4"))
    return [*found, "enable_ipv4"] if without_ipv4 else found


def _is_false(node: Node | None) -> bool:
    return node is not None and plain(node) is False


def _place(node: MappingNode, key: str) -> Location:
    return node.keys.get(key) or node.items[key].location


def ignored_notice(services: Mapping[str, Mapping[str, Any]]) -> str:
    """The notice, in the docker client's words; empty if every key has a meaning."""
    unsupported, deprecated = ignored_keys(services)
    addresses = [
        f"ignoring IP-address ({port['host_ip']}:{port.get('published', '')}:{port['target']}/{port['protocol']}) service will "
        "listen on '0.0.0.0'\n"
        for service in services.values()
        for port in service.get("ports") or ()
        if port.get("host_ip")
    ]
    parts = [f"Ignoring unsupported options: {', '.join(unsupported)}\n"] if unsupported else []
    if deprecated:
        reasons = "".join(f"{key}: {DEPRECATED[key]}\n\n" for key in deprecated)
        parts.append(f"Ignoring deprecated options:\n\n{reasons}")
    return "".join(addresses) + "\n".join(parts)
