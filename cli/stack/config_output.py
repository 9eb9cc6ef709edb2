"""The output of ``stack config``: a Compose file that deploys the same from any directory. Pure."""

from collections.abc import Mapping
from typing import Any

from cli.stack.mounts import ManifestPaths, is_path


def portable_manifest(content: Mapping[str, Any], paths: ManifestPaths) -> dict[str, Any]:
    """An interpolated Compose file with absolute paths and escaped dollar signs."""
    result = {key: _escaped(value) for key, value in content.items()}
    for kind in ("secrets", "configs"):
        for item in (result.get(kind) or {}).values():
            if isinstance(item, dict) and isinstance(item.get("file"), str):
                item["file"] = paths.absolute(item["file"])
    for service in (result.get("services") or {}).values():
        if not isinstance(service, dict):
            continue
        if service.get("env_file"):
            service["env_file"] = _env_file(service["env_file"], paths)
        if service.get("volumes"):
            service["volumes"] = [_volume(item, paths) for item in service["volumes"]]
    return result


def _env_file(value: Any, paths: ManifestPaths) -> Any:
    if isinstance(value, str):
        return paths.absolute(value)
    if isinstance(value, dict):
        return {**value, "path": paths.absolute(str(value["path"]))}
    return [_env_file(item, paths) for item in value]


def _volume(item: Any, paths: ManifestPaths) -> Any:
    if isinstance(item, dict):
        return {**item, "source": paths.absolute(item["source"])} if item.get("type") == "bind" else item
    source, separator, rest = str(item).partition(":")
    return f"{paths.absolute(source)}:{rest}" if separator and is_path(source) else item


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list) else value
