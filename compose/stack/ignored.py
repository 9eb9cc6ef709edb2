"""Keys of a stack file that have no meaning on a cluster, and the notice that names them all at once. Pure."""

from collections.abc import Mapping
from typing import Any

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
DEPRECATED = {
    "container_name": "Setting the container name is not supported.",
    "expose": (
        "Exposing ports is unnecessary - services on the same network can access each other's containers on any port."
    ),
}


def ignored_keys(services: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """The unsupported and the deprecated keys that services use, sorted."""
    used = {key for service in services.values() for key in service}
    return sorted(used & set(UNSUPPORTED)), sorted(used & set(DEPRECATED))


def ignored_notice(services: Mapping[str, Mapping[str, Any]]) -> str:
    """The notice, in the docker client's words; empty if every key has a meaning."""
    unsupported, deprecated = ignored_keys(services)
    parts = [f"Ignoring unsupported options: {', '.join(unsupported)}\n"] if unsupported else []
    if deprecated:
        reasons = "".join(f"{key}: {DEPRECATED[key]}\n\n" for key in deprecated)
        parts.append(f"Ignoring deprecated options:\n\n{reasons}")
    return "\n".join(parts)
