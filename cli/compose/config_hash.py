"""The hash by which a changed service, network or volume is recognised: that of Docker Compose, so that both agree. Pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from compose.project.format import SERVICE

Values = Mapping[str, Any]
_NOT_HASHED = ("build", "pull_policy", "scale", "depends_on", "profiles")


def service_hash(service: Values) -> str:
    """The hash of what a container is made from. How many there are and how the image is made does not count."""
    kept = {key: value for key, value in service.items() if key not in _NOT_HASHED}
    if isinstance(kept.get("deploy"), Mapping):
        kept["deploy"] = {key: value for key, value in kept["deploy"].items() if key != "replicas"}
    kept.setdefault("command", None)
    kept.setdefault("entrypoint", None)
    return _digest({key: kept[key] for key in SERVICE.fields if key in kept})


def network_hash(network: Values) -> str:
    return _digest({**network, "driver": network.get("driver") or "default"})


def volume_hash(volume: Values) -> str:
    return _digest({**volume, "driver": volume.get("driver") or "local"})


def _digest(value: Values) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return hashlib.sha256(text.encode()).hexdigest()
