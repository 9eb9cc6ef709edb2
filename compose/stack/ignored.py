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


_EMPTY: tuple[object, ...] = (None, "", False, [], {})


def has_no_meaning(key: str, value: object) -> bool:
    """Whether a key of a service with this value has no effect on a cluster."""
    return value not in _EMPTY and (key in UNSUPPORTED or key in NEWER or key in DEPRECATED)


def ignored_keys(services: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """The unsupported and the deprecated keys that services use, sorted."""
    used = {key for service in services.values() for key, value in service.items() if value not in _EMPTY}
    return sorted(used & {*UNSUPPORTED, *NEWER}), sorted(used & set(DEPRECATED))


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
