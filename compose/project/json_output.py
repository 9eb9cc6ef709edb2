"""A project as JSON, as Docker Compose's structures give it: for ``config --format json`` and for what is hashed. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from compose.nodes import MappingNode, plain
from compose.project.format import DEPLOY, SERVICE, WATCH
from compose.project.layout import SECTIONS, escaped_dollars, laid_out
from compose.schema import Table

_JSON_NAMES = {"path": "Path", "rate": "Rate", "weight": "Weight"}
_BLKIO_LISTS = ("weight_device", "device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops")


def project_json(content: MappingNode, *, escaped: bool = True) -> str:
    """JSON as Compose's structures give it: sections and names in their order as texts, structures that are always written."""
    values = plain(content)
    result: dict[str, Any] = {}
    for section in sorted(key for key in values if key == "name" or key in SECTIONS or key.startswith("x-")):
        found = values[section]
        if section == "services":
            result[section] = {key: _json_service(found[key]) for key in sorted(found)}
        elif section in SECTIONS and found:
            result[section] = {key: _json_object(section, found[key]) for key in sorted(found)}
        elif section not in SECTIONS:
            result[section] = laid_out(found, Table({}), sorted)
    result.setdefault("services", {})
    text = json.dumps(escaped_dollars(result) if escaped else result, indent=2, ensure_ascii=False)
    return go_json_text(text)


def json_structures(service: Mapping[str, Any]) -> dict[str, Any]:
    """A service in the order of the format, with the structures that Compose always writes in JSON."""
    found: dict[str, Any] = laid_out(service, SERVICE, sorted, extensions=False)
    if "deploy" in found:
        deploy = {"resources": {}, "placement": {}, **found["deploy"]}
        found["deploy"] = {key: deploy[key] for key in DEPLOY.fields if key in deploy}
    if "develop" in found:
        rules = [{"exec": {"command": None}, **rule} for rule in found["develop"].get("watch") or ()]
        found["develop"]["watch"] = [{key: rule[key] for key in WATCH.fields if key in rule} for rule in rules]
    if "blkio_config" in found:
        found["blkio_config"] = {
            key: [{_JSON_NAMES[name]: value for name, value in item.items()} for item in value]
            if key in _BLKIO_LISTS
            else value
            for key, value in found["blkio_config"].items()
        }
    return found


def go_json_text(text: str) -> str:
    """JSON with the characters escaped that Go escapes."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _json_service(service: Mapping[str, Any]) -> dict[str, Any]:
    found = {"command": None, "entrypoint": None, **json_structures(service)}
    return {key: found[key] for key in SERVICE.fields if key in found}


def _json_object(section: str, values: Mapping[str, Any]) -> Any:
    always: dict[str, Any] = {"ipam": {}} if section == "networks" else {}
    return laid_out({**always, **values}, SECTIONS[section], sorted, extensions=False)
