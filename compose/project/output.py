"""A project as YAML or JSON, as ``docker compose config`` prints it: dollar signs doubled, so that it can be read again. Pure."""

import json
from typing import Any

from compose.nodes import MappingNode, plain
from compose.project.format import SERVICE
from compose.yaml_writer import natural_order, write_yaml

_SECTIONS = ("name", "services", "networks", "volumes", "secrets", "configs")


def project_values(content: MappingNode) -> dict[str, Any]:
    """The plain values of a project, sections in the usual order, names sorted, dollar signs doubled."""
    values = plain(content)
    result: dict[str, Any] = {}
    for section in _SECTIONS:
        found = values.get(section)
        if section == "name":
            result |= {"name": found} if found else {}
        elif found or section == "services":
            ordered = {key: found[key] for key in natural_order(found or {})}
            if section == "services":
                ordered = {key: _in_order(service) for key, service in ordered.items()}
            result[section] = _escaped(ordered)
    extensions = natural_order(key for key in values if key.startswith("x-"))
    return result | {key: _escaped(values[key]) for key in extensions}


def _in_order(service: dict[str, Any]) -> dict[str, Any]:
    """A service with its keys in the order of the format, others after them."""
    known = {key: service[key] for key in SERVICE.fields if key in service}
    return known | {key: value for key, value in service.items() if key not in known}


def project_yaml(content: MappingNode) -> str:
    return write_yaml(project_values(content))


def project_json(content: MappingNode) -> str:
    return json.dumps(project_values(content), indent=2, ensure_ascii=False) + "\n"


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list) else value
