"""The hash by which a changed service, network or volume is recognised: that of Docker Compose, so that both agree. Pure.

Compose hashes the JSON of its structures: keys in their order, maps by name, empty structures written out.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from compose.project.format import NETWORK
from compose.project.json_output import go_json_text, json_structures

Values = Mapping[str, Any]
_NOT_HASHED = ("build", "pull_policy", "scale", "depends_on", "profiles")
_ORDER = (
    *("annotations", "attach", "develop", "blkio_config", "cap_add", "cap_drop", "cgroup_parent", "cgroup"),
    *("cpu_count", "cpu_percent", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpus"),
    *("cpuset", "cpu_shares", "command", "configs", "container_name", "credential_spec", "deploy"),
    *("device_cgroup_rules", "devices", "dns", "dns_opt", "dns_search", "domainname", "entrypoint", "provider"),
    *("environment", "env_file", "expose", "external_links", "extra_hosts", "group_add", "gpus", "hostname"),
    *("healthcheck", "image", "init", "ipc", "isolation", "labels", "label_file", "links", "logging"),
    *("mem_limit", "mem_reservation", "memswap_limit", "mem_swappiness", "mac_address", "models"),
    *("network_mode", "networks", "oom_kill_disable", "oom_score_adj", "pid", "pids_limit", "platform", "ports"),
    *("privileged", "read_only", "restart", "runtime", "secrets", "security_opt", "shm_size", "stdin_open"),
    *("stop_grace_period", "stop_signal", "storage_opt", "sysctls", "tmpfs", "tty", "ulimits", "use_api_socket"),
    *("user", "userns_mode", "uts", "volumes", "volumes_from", "working_dir", "post_start", "pre_stop"),
)
"""The order of keys in what is hashed, which is not that of ``config``."""


def service_hash(service: Values) -> str:
    """The hash of what a container is made from. How many there are and how the image is made does not count."""
    kept = {key: value for key, value in service.items() if key not in _NOT_HASHED}
    if isinstance(kept.get("deploy"), Mapping):
        kept["deploy"] = {key: value for key, value in kept["deploy"].items() if key != "replicas"}
    found = {"command": None, "entrypoint": None, **json_structures(kept)}
    return _digest(_ordered(found, _ORDER))


def network_hash(network: Values) -> str:
    return _digest(_ordered({"ipam": {}, **network}, tuple(NETWORK.fields)))


def volume_hash(volume: Values) -> str:
    return _digest({**volume, "driver": volume.get("driver") or "local"})


def _ordered(values: Values, order: tuple[str, ...]) -> Values:
    return {key: values[key] for key in order if key in values}


def _digest(value: Values) -> str:
    text = go_json_text(json.dumps(value, separators=(",", ":"), ensure_ascii=False))
    return hashlib.sha256(text.encode()).hexdigest()
