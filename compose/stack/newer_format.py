"""A project of the Compose Specification as a canonical stack: what ``docker stack`` cannot read, Covey deploys too. Pure."""

from collections.abc import Mapping
from typing import Any

from compose.errors import ComposeFileError
from compose.forms import go_text
from compose.nodes import MappingNode, Node, node_of, plain

Values = Mapping[str, Any]
_LIMITS = {"cpus": "cpus", "mem_limit": "memory", "pids_limit": "pids"}


def stack_of_project(content: MappingNode, variables: Mapping[str, str]) -> MappingNode:
    """The canonical stack.

    Args:
        content: the canonical project.
        variables: values of secrets and configs that come from the environment.

    Raises:
        ComposeFileError: a value that a cluster cannot honour and that changes what runs.
    """
    items = dict(content.items)
    services = content.get("services")
    if isinstance(services, MappingNode):
        converted = {key: node_of(_service(item), item.location) for key, item in services.items.items()}
        items["services"] = services.with_items(converted)
    for kind in ("networks", "volumes", "secrets", "configs"):
        section = content.get(kind)
        if isinstance(section, MappingNode):
            items[kind] = section.with_items({key: _external(key, item) for key, item in section.items.items()})
    for kind in ("secrets", "configs"):
        section = items.get(kind)
        if isinstance(section, MappingNode):
            items[kind] = section.with_items(
                {key: _file_object(item, variables, f"{kind}.{key}") for key, item in section.items.items()}
            )
    return content.with_items(items)


def _service(node: Node) -> dict[str, Any]:
    service = dict(plain(node))
    deploy = dict(service.get("deploy") or {})
    if "scale" in service:
        deploy.setdefault("replicas", service.pop("scale"))
    deploy["resources"] = _resources(service, deploy.get("resources") or {})
    service["deploy"] = deploy
    service["extra_hosts"] = [line.replace("=", ":", 1) for line in service.get("extra_hosts") or ()]
    service["ports"] = [_port(port, node) for port in service.get("ports") or ()]
    for kind, folder in (("secrets", "/run/secrets/"), ("configs", "/")):
        service[kind] = [_reference(item, folder) for item in service.get(kind) or ()]
    service["networks"] = _attachments(service.get("networks") or {})
    return {key: value for key, value in service.items() if value not in (None, "", [], {})}


def _resources(service: dict[str, Any], resources: Values) -> dict[str, Any]:
    """The resources of ``deploy``, with the older keys of the service where it sets none; numbers of CPUs as texts."""
    limits = dict(resources.get("limits") or {})
    for key, name in _LIMITS.items():
        if key in service:
            limits.setdefault(name, service.pop(key))
    reservations = dict(resources.get("reservations") or {})
    if "mem_reservation" in service:
        reservations.setdefault("memory", service.pop("mem_reservation"))
    for values in (limits, reservations):
        if "cpus" in values:
            values["cpus"] = go_text(values["cpus"])
    return {key: value for key, value in (("limits", limits), ("reservations", reservations)) if value}


def _port(port: Values, node: Node) -> dict[str, Any]:
    published = port.get("published") or "0"
    if not published.isdecimal():
        reason = f"the published ports {published} of one target have no meaning on a cluster: name one port"
        raise ComposeFileError(reason, location=node.location)
    known = {key: value for key, value in port.items() if key in ("mode", "target", "protocol", "host_ip")}
    return {**known, "published": int(published)}


def _reference(item: Values, folder: str) -> dict[str, Any]:
    """A reference to a secret or config: a target in the usual folder is a name, permissions are a number."""
    result = dict(item)
    if "target" in result:
        result["target"] = result["target"].removeprefix(folder) if folder != "/" else result["target"]
    if "mode" in result:
        result["mode"] = int(result["mode"], 8)
    return result


def _attachments(networks: Values) -> dict[str, Any]:
    kept = ("aliases", "driver_opts")
    return {
        key: {name: options[name] for name in kept if name in options} if options else None
        for key, options in networks.items()
    }


def _external(key: str, node: Node) -> Node:
    """An object; an external one without a name has its key as the name."""
    if not isinstance(node, MappingNode) or "external" not in node.items or "name" in node.items:
        return node
    return node.with_items({"name": node_of(key, node.location), **node.items})


def _file_object(node: Node, variables: Mapping[str, str], path: str) -> Node:
    """A secret or config whose content is in the file itself or in the environment."""
    item = dict(plain(node))
    sources = [key for key in ("file", "environment", "content", "driver") if item.get(key)]
    if not item.get("external") and len(sources) != 1:
        reason = "exactly one of file, environment, content, driver or external must be set"
        raise ComposeFileError(reason, location=node.location, path=path)
    variable = item.pop("environment", None)
    if variable:
        if variable not in variables:
            reason = f'environment variable "{variable}" is required by {path} but it is not set'
            raise ComposeFileError(reason, location=node.location)
        item["content"] = variables[variable]
    return node_of(item, node.location)
