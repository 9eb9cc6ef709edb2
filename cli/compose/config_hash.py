"""The hash by which a changed service, network or volume is recognised: that of Docker Compose, so that both agree. Pure.

Compose hashes the JSON of its structures: keys in their order, maps by name, empty structures written out.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from compose.project.format import DEPLOY, LONG_PORT, NETWORK, SERVICE

Values = Mapping[str, Any]
_NOT_HASHED = ("build", "pull_policy", "scale", "depends_on", "profiles")
_CPU = (
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpus",
    "cpuset",
    "cpu_shares",
)
"""Keys that Compose writes before ``command``."""
_MAPS = ("annotations", "environment", "labels", "networks", "storage_opt", "sysctls", "ulimits")
_FALSE_IS_NOTHING = ("oom_kill_disable", "privileged", "read_only", "stdin_open", "tty", "use_api_socket")


def service_hash(service: Values) -> str:
    """The hash of what a container is made from. How many there are and how the image is made does not count."""
    kept = {key: value for key, value in service.items() if key not in _NOT_HASHED}
    kept = {key: value for key, value in kept.items() if value is not False or key not in _FALSE_IS_NOTHING}
    for key in _MAPS:
        if isinstance(kept.get(key), Mapping):
            kept[key] = dict(sorted(kept[key].items()))
    if isinstance(kept.get("deploy"), Mapping):
        kept["deploy"] = _deploy(kept["deploy"])
    if "develop" in kept:
        kept["develop"] = {"watch": [_watch_rule(rule) for rule in kept["develop"].get("watch") or ()]}
    if "ports" in kept:
        kept["ports"] = [_ordered(port, tuple(LONG_PORT.fields)) for port in kept["ports"]]
    kept.setdefault("command", None)
    kept.setdefault("entrypoint", None)
    return _digest(_ordered(kept, _service_order()))


def network_hash(network: Values) -> str:
    return _digest(_ordered({"ipam": {}, **network}, tuple(NETWORK.fields)))


def volume_hash(volume: Values) -> str:
    return _digest({**volume, "driver": volume.get("driver") or "local"})


def _service_order() -> tuple[str, ...]:
    others = [key for key in SERVICE.fields if key not in (*_CPU, "develop")]
    at, early = others.index("command"), others.index("blkio_config")
    return (*others[:early], "develop", *others[early:at], *_CPU, *others[at:])


def _deploy(deploy: Values) -> Values:
    """The section without replicas, with the structures that are always written."""
    kept = {key: value for key, value in deploy.items() if key != "replicas"}
    return _ordered({"resources": {}, "placement": {}, **kept}, tuple(DEPLOY.fields))


def _watch_rule(rule: Values) -> Values:
    order = ("path", "action", "target", "exec", "include", "ignore", "initial_sync")
    return _ordered({"exec": {"command": None}, **rule}, order)


def _ordered(values: Values, order: tuple[str, ...]) -> Values:
    return {key: values[key] for key in order if key in values}


def _digest(value: Values) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return hashlib.sha256(text.encode()).hexdigest()
