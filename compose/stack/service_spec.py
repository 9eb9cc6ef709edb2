"""A canonical stack as API objects: networks, secrets, configs and service specs. Pure: contents of files come from a function."""

from collections.abc import Callable, Mapping
from typing import Any

from compose.errors import ComposeFileError
from compose.nodes import MappingNode, Node, plain
from compose.stack.container_spec import container_spec
from compose.stack.depends_on import dependency_label, in_start_order
from compose.stack.deploy_spec import placement, present, resources, restart_policy, service_mode, update_config
from compose.stack.labels import STACK_IMAGE_LABEL, labelled, scoped
from compose.stack.model import Stack, StackFile, StackNetwork, StackService
from covey.errors import InvalidArgumentError, TooLargeError

Values = Mapping[str, Any]
ReadFile = Callable[[str], bytes]
"""The content of a file; takes an absolute path."""
PREDEFINED_NETWORKS = ("host", "bridge", "none")


def stack_objects(name: str, content: MappingNode, read_file: ReadFile) -> Stack:
    """The objects of a stack.

    Args:
        name: the stack's name.
        content: the canonical stack.
        read_file: reads the files of secrets and configs.

    Raises:
        InvalidArgumentError: what docker refuses, in its words, with the service's name.
    """
    top = plain(content)
    section = content.get("services")
    nodes = section.items if isinstance(section, MappingNode) else {}
    services = tuple(_service(name, key, nodes[key], top) for key in in_start_order(nodes))
    return Stack(
        name=name,
        networks=_used_networks(name, top),
        secrets=_file_objects(name, "secrets", content, read_file),
        configs=_file_objects(name, "configs", content, read_file),
        services=services,
    )


def _service(stack: str, key: str, node: Node, top: Values) -> StackService:
    try:
        spec = service_spec(stack, key, plain(node), top)
    except InvalidArgumentError as error:
        raise ComposeFileError(f"service {key}: {error.message}", location=node.location) from error
    return StackService(key=key, name=spec["Name"], spec=spec)


def service_spec(stack: str, key: str, service: Values, top: Values) -> dict[str, Any]:
    """The spec of a service, with names of networks, secrets and configs where the daemon needs ids.

    Raises:
        InvalidArgumentError: values that contradict each other, or an object that is not declared.
    """
    deploy = service.get("deploy") or {}
    image = service.get("image", "")
    if not image:
        raise InvalidArgumentError("an image is required: a service of a cluster is not built, name its image")
    task = {
        "ContainerSpec": container_spec(stack, service, top),
        "Resources": resources(deploy) or {},
        "RestartPolicy": restart_policy(deploy, service.get("restart", "")),
        "Placement": placement(deploy) or {},
        "Networks": _attachments(stack, key, service, top) or None,
        "LogDriver": _log_driver(service.get("logging")),
    }
    spec = {
        "Name": scoped(stack, key),
        "Labels": {
            **dependency_label(stack, service, top.get("services") or {}),
            **labelled(stack, deploy.get("labels")),
            STACK_IMAGE_LABEL: image,
        },
        "TaskTemplate": present(task),
        "Mode": service_mode(deploy),
        "UpdateConfig": update_config(deploy.get("update_config")),
        "RollbackConfig": update_config(deploy.get("rollback_config")),
        "EndpointSpec": _endpoint(deploy, service.get("ports") or ()),
    }
    return present(spec)


def _log_driver(logging: Values | None) -> dict[str, Any] | None:
    if logging is None:
        return None
    return present({"Name": logging.get("driver", ""), "Options": logging.get("options")})


def _endpoint(deploy: Values, ports: Any) -> dict[str, Any]:
    listed = [
        {
            "Protocol": port.get("protocol", ""),
            "TargetPort": port.get("target", 0),
            "PublishedPort": port.get("published", 0),
            "PublishMode": port.get("mode", ""),
        }
        for port in ports
    ]
    listed.sort(key=lambda port: port["PublishedPort"])
    ports_set = [{key: value for key, value in port.items() if value} for port in listed]
    return {
        **({"Mode": deploy["endpoint_mode"]} if deploy.get("endpoint_mode") else {}),
        **({"Ports": ports_set} if ports_set else {}),
    }


def _attachments(stack: str, key: str, service: Values, top: Values) -> list[dict[str, Any]]:
    """The networks of a service; ``default`` without any. The service's key is always an alias."""
    declared = top.get("networks") or {}
    result = []
    for network, options in (service.get("networks") or {"default": None}).items():
        if network != "default" and network not in declared:
            raise InvalidArgumentError(f'undefined network "{network}"')
        options = options or {}  # noqa: PLW2901
        name = network_name(stack, network, declared)
        own = () if name in PREDEFINED_NETWORKS else (key,)
        attachment = {
            "Target": name,
            "Aliases": [*options.get("aliases", ()), *own] or None,
            "DriverOpts": options.get("driver_opts"),
        }
        result.append(present(attachment))
    return sorted(result, key=lambda item: str(item["Target"]))


def network_name(stack: str, key: str, declared: Values) -> str:
    """The name of a declared network."""
    name = (declared.get(key) or {}).get("name")
    return str(name) if name else scoped(stack, key)


def _used_networks(stack: str, top: Values) -> tuple[StackNetwork, ...]:
    """The networks that services use, with the default network if a service names none."""
    declared = top.get("networks") or {}
    services = (top.get("services") or {}).values()
    used = {key for service in services for key in (service.get("networks") or {"default": None})}
    return tuple(_network(stack, key, declared) for key in sorted(used) if key in declared or key == "default")


def _network(stack: str, key: str, declared: Values) -> StackNetwork:
    network = declared.get(key) or {}
    name = network_name(stack, key, declared)
    if network.get("external"):
        return StackNetwork(key=key, name=name, external=True)
    body: dict[str, Any] = {
        "Name": name,
        "Driver": network.get("driver") or "overlay",
        "Options": network.get("driver_opts") or {},
        "Internal": network.get("internal", False),
        "Attachable": network.get("attachable", False),
        "Labels": labelled(stack, network.get("labels")),
        "Scope": "swarm",
    }
    if ipam := network.get("ipam"):
        subnets = [{"Subnet": item["subnet"]} for item in ipam.get("config") or () if item.get("subnet")]
        body["IPAM"] = {"Driver": ipam.get("driver", ""), "Config": subnets}
    return StackNetwork(key=key, name=name, body=body)


def _file_objects(stack: str, kind: str, content: MappingNode, read_file: ReadFile) -> tuple[StackFile, ...]:
    section = content.get(kind)
    result = []
    for key, node in sorted(section.items.items()) if isinstance(section, MappingNode) else ():
        try:
            result.append(_file_object(stack, key, plain(node), read_file))
        except (InvalidArgumentError, TooLargeError) as error:
            raise ComposeFileError(error.message, location=node.location, path=f"{kind}.{key}") from error
    return tuple(result)


def _content(item: Values, read_file: ReadFile) -> bytes:
    """The content of a secret or config: given in the file, or that of another file."""
    return str(item["content"]).encode() if "content" in item else read_file(item["file"])


def _file_object(stack: str, key: str, item: Values, read_file: ReadFile) -> StackFile:
    name = str(item.get("name") or scoped(stack, key))
    if item.get("external"):
        return StackFile(key=key, name=name, external=True)
    driver = item.get("driver")
    return StackFile(
        key=key,
        name=name,
        labels=labelled(stack, item.get("labels")),
        data=None if driver else _content(item, read_file),
        versioned=not driver and not item.get("name"),
        driver=present({"Name": driver, "Options": item.get("driver_opts")}) if driver else None,
        template_driver=item.get("template_driver", ""),
    )
