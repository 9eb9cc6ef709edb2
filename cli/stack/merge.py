"""Merges several Compose files: later files add to mappings and lists and override single values. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

REPLACED = {"command", "entrypoint", "test"}
MAPPINGS = {"environment", "labels", "extra_hosts", "sysctls", "driver_opts"}
KEYED = {"volumes": "target", "secrets": "source", "configs": "source"}
_HOST = re.compile(r"([^:=]+)[:=](.+)")


def merge(manifests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One Compose file made of all; later files override earlier ones."""
    result: dict[str, Any] = dict(manifests[0])
    for manifest in manifests[1:]:
        result = _mappings(result, manifest, ())
    return result


def _mappings(old: Mapping[str, Any], new: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    result = dict(old)
    for key, value in new.items():
        result[key] = _value(result[key], value, (*path, str(key))) if result.get(key) is not None else value
    return result


def _value(old: Any, new: Any, path: tuple[str, ...]) -> Any:
    key = path[-1]
    if new is None:
        return old
    if key in REPLACED:
        return new
    if key in MAPPINGS:
        old, new = _as_mapping(key, old), _as_mapping(key, new)
    if key == "networks" and path[0] == "services":
        old, new = _as_keys(old), _as_keys(new)
    if key in KEYED and path[0] == "services" and isinstance(old, list) and isinstance(new, list):
        return list({_entry_identity(key, item): item for item in [*old, *new]}.values())
    if isinstance(old, dict) and isinstance(new, dict):
        return _mappings(old, new, path)
    if isinstance(old, list) and isinstance(new, list):
        return [*old, *(item for item in new if item not in old)]
    return new


def _as_mapping(key: str, value: Any) -> Any:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return value
    if key == "extra_hosts":
        return {match[1]: match[2] for item in value if (match := _HOST.fullmatch(item))}
    pairs = (item.partition("=") for item in value)
    return {name: text if separator else None for name, separator, text in pairs}


def _as_keys(value: Any) -> Any:
    return dict.fromkeys(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else value


def _entry_identity(key: str, item: Any) -> Any:
    """The identity of a list entry: the target of a volume, the source of a secret or config."""
    if isinstance(item, dict):
        return str(item.get("target") or item.get(KEYED[key]))
    text = str(item)
    if key == "volumes":
        parts = text.split(":")
        return parts[1] if len(parts) > 1 else text
    return text
