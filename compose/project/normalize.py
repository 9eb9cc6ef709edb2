"""What a canonical project implies: names of objects, the default network, environments from files, dependencies. Pure."""

from collections.abc import Callable, Mapping

from compose.conversion import as_mapping
from compose.nodes import ListNode, MappingNode, Node, is_null, node_of, plain
from compose.project.checks import implied_dependencies

EnvironmentFile = Callable[[Node, Mapping[str, str]], Mapping[str, str | None]]
"""The variables of an ``env_file`` entry; takes the variables that its values may name."""
LabelFile = Callable[[Node], Mapping[str, str | None]]
_OBJECTS = ("networks", "volumes", "secrets", "configs")


def with_files(
    service: MappingNode, variables: Mapping[str, str], environment_file: EnvironmentFile, label_file: LabelFile
) -> MappingNode:
    """A service with its environment and labels from files."""
    items = dict(service.items)
    environment = _environment(service, variables, environment_file)
    items.pop("env_file", None)
    if environment is not None:
        items["environment"] = environment
    labels = _labels(service, label_file)
    items.pop("label_file", None)
    if labels is not None:
        items["labels"] = labels
    return service.with_items(items)


def with_variables(service: MappingNode, variables: Mapping[str, str]) -> MappingNode:
    """A service whose variables without a value have that of the client; arguments of a build that have none are left out."""
    items = dict(service.items)
    if isinstance(environment := items.get("environment"), MappingNode):
        items["environment"] = environment.with_items(
            {key: _resolved(key, item, variables) for key, item in environment.items.items()}
        )
    build = items.get("build")
    if isinstance(build, MappingNode) and isinstance(args := build.get("args"), MappingNode):
        resolved = {key: _resolved(key, item, variables) for key, item in args.items.items()}
        known = args.with_items({key: item for key, item in resolved.items() if not is_null(item)})
        items["build"] = build.with_items({**build.items, "args": known})
    return service.with_items(items)


def normalized_service(service: MappingNode, directory: str) -> MappingNode:
    """A service with defaults of its build, targets of its secrets, the networks that it is on, and implied dependencies."""
    items = dict(service.items)
    if isinstance(build := items.get("build"), MappingNode):
        items["build"] = _build(build, directory)
    if isinstance(secrets := items.get("secrets"), ListNode):
        items["secrets"] = ListNode(tuple(_secret(item) for item in secrets.items), secrets.location)
    if "network_mode" not in items and "networks" not in items:
        items["networks"] = node_of({"default": None}, service.location)
    implied = implied_dependencies(service)
    if implied:
        items["depends_on"] = _dependencies(items.get("depends_on"), implied, service)
    return service.with_items(items)


def with_names(content: MappingNode, project: str) -> MappingNode:
    """The project with the name of every object, and the default network where a service is on it."""
    items = dict(content.items)
    if "default" in _used(content)["networks"]:
        networks = items.get("networks")
        declared = networks.items if isinstance(networks, MappingNode) else {}
        default = declared.get("default") or MappingNode({}, content.location)
        items["networks"] = MappingNode({**declared, "default": default}, content.location)
    for kind in _OBJECTS:
        if isinstance(section := items.get(kind), MappingNode):
            items[kind] = section.with_items({key: _named(key, item, project) for key, item in section.items.items()})
    return content.with_items(items)


def without_unused(content: MappingNode) -> MappingNode:
    """The project without networks, volumes, secrets and configs that no service uses."""
    items = dict(content.items)
    used = _used(content)
    for kind in _OBJECTS:
        if isinstance(section := items.get(kind), MappingNode):
            items[kind] = section.with_items({key: item for key, item in section.items.items() if key in used[kind]})
            if not plain(items[kind]):
                del items[kind]
    return content.with_items(items)


def _named(key: str, node: Node, project: str) -> Node:
    node = as_mapping(node)
    if "name" in node.items and plain(node.items["name"]):
        return node
    name = key if "external" in node.items else f"{project}_{key}"
    return node.with_items({"name": node_of(name, node.location), **node.items})


def _used(content: MappingNode) -> dict[str, set[str]]:
    """The keys of objects that services use, by kind."""
    used: dict[str, set[str]] = {kind: set() for kind in _OBJECTS}
    services = content.get("services")
    for service in services.items.values() if isinstance(services, MappingNode) else ():
        values = plain(service)
        used["networks"] |= set(values.get("networks") or ())
        used["volumes"] |= {
            item["source"] for item in values.get("volumes") or () if item["type"] == "volume" and item.get("source")
        }
        for kind in ("secrets", "configs"):
            used[kind] |= {item.get("source", "") for item in values.get(kind) or ()}
        used["secrets"] |= {item.get("source", "") for item in (values.get("build") or {}).get("secrets") or ()}
    return used


def _environment(service: MappingNode, variables: Mapping[str, str], read: EnvironmentFile) -> MappingNode | None:
    """The variables of the files, then those of the service."""
    values: dict[str, Node] = {}
    files = service.get("env_file")
    for item in files.items if isinstance(files, ListNode) else ():
        known = {key: str(plain(node)) for key, node in values.items() if not is_null(node)}
        values |= {key: node_of(value, item.location) for key, value in read(item, {**known, **variables}).items()}
    own = service.get("environment")
    values |= own.items if isinstance(own, MappingNode) else {}
    return MappingNode(values, (own or service).location) if values else None


def _resolved(key: str, node: Node, variables: Mapping[str, str]) -> Node:
    return node_of(variables[key], node.location) if is_null(node) and key in variables else node


def _labels(service: MappingNode, read: LabelFile) -> MappingNode | None:
    values: dict[str, Node] = {}
    files = service.get("label_file")
    for item in files.items if isinstance(files, ListNode) else ():
        values |= {key: node_of(value or "", item.location) for key, value in read(item).items()}
    own = service.get("labels")
    values |= own.items if isinstance(own, MappingNode) else {}
    return MappingNode(values, (own or service).location) if values else None


def _deploy(deploy: MappingNode) -> MappingNode:
    """The section without zeros that only served to override those of an earlier file."""
    items = dict(deploy.items)
    for key in ("update_config", "rollback_config"):
        if isinstance(update := items.get(key), MappingNode):
            kept = {
                name: item
                for name, item in update.items.items()
                if name not in ("delay", "monitor", "max_failure_ratio") or plain(item) not in (0, "0s")
            }
            items[key] = update.with_items(kept)
    return deploy.with_items(items)


def _build(build: MappingNode, directory: str) -> MappingNode:
    items = dict(build.items)
    items.setdefault("context", node_of(directory, build.location))
    if "dockerfile" not in items and "dockerfile_inline" not in items:
        items["dockerfile"] = node_of("Dockerfile", build.location)
    return build.with_items(items)


def _secret(node: Node) -> Node:
    node = as_mapping(node)
    if "target" in node.items or "source" not in node.items:
        return node
    target = node_of(f"/run/secrets/{plain(node.items['source'])}", node.location)
    return node.with_items({**node.items, "target": target})


def _dependencies(declared: Node | None, implied: Mapping[str, bool], service: MappingNode) -> Node:
    """The declared dependencies, and those that follow from other keys."""
    items = dict(declared.items) if isinstance(declared, MappingNode) else {}
    for name, restart in implied.items():
        added = {"condition": "service_started", "required": True, **({"restart": True} if restart else {})}
        items.setdefault(name, node_of(added, service.location))
    return MappingNode(items, (declared or service).location)
