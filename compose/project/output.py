"""A project as YAML, as ``docker compose config`` prints it: dollar signs doubled, so that it can be read again. Pure."""

from typing import Any

from compose.nodes import MappingNode, plain
from compose.project.layout import SECTIONS, escaped_dollars, laid_out
from compose.schema import Table
from compose.yaml_writer import natural_order, write_compose_yaml


def project_values(content: MappingNode, *, escaped: bool = True) -> dict[str, Any]:
    """The plain values of a project as YAML has them: sections in the usual order, names sorted, dollar signs doubled."""
    values = plain(content)
    result: dict[str, Any] = {"name": values["name"]} if values.get("name") else {}
    for section, table in SECTIONS.items():
        found = values.get(section)
        if found or section == "services":
            result[section] = {key: laid_out(found[key], table, natural_order) for key in natural_order(found or {})}
    for key in natural_order(key for key in values if key.startswith("x-")):
        result[key] = laid_out(values[key], Table({}), natural_order)
    return {key: escaped_dollars(value) for key, value in result.items()} if escaped else result


def project_yaml(content: MappingNode, *, escaped: bool = True) -> str:
    return write_compose_yaml(project_values(content, escaped=escaped))


def model_yaml(content: MappingNode) -> str:
    """A project that is not interpolated, as Compose prints it: all keys sorted, defaults of short forms, dollar signs as they are."""
    values = plain(content)
    for service in (values.get("services") or {}).values():
        for volume in service.get("volumes") or ():
            if volume.get("type") == "bind":
                volume["bind"] = {"create_host_path": True, **(volume.get("bind") or {})}
    return write_compose_yaml(laid_out(values, Table({}), natural_order))
