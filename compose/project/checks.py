"""Consistency of a project: what services refer to exists, dependencies have no cycle, keys do not contradict. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence

from compose.conversion import as_mapping
from compose.errors import ComposeFileError
from compose.nodes import MappingNode, Node, plain

PROJECT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_PREDEFINED = ("default",)
_TESTS = ("CMD", "CMD-SHELL", "NONE")
_SHARED = ("network_mode", "ipc", "pid", "uts")


def check_project(content: MappingNode, disabled: Mapping[str, Node]) -> None:
    """Check a canonical project.

    Args:
        content: the project with the services of enabled profiles.
        disabled: the services of other profiles.

    Raises:
        ComposeFileError: in Compose's words, with the place of the service.
    """
    services = _section(content, "services")
    declared = {kind: set(_section(content, kind)) for kind in ("networks", "volumes", "secrets", "configs")}
    for name, service in services.items():
        assert isinstance(service, MappingNode)  # noqa: S101 — canonical
        for reason in _faults(name, service, declared, services, disabled):
            raise ComposeFileError(
                f"{reason}: invalid compose project", location=service.location, path=f"services.{name}"
            )
    refuse_cycles({name: tuple(dependencies(service)) for name, service in services.items()}, services)


def dependencies(service: Node) -> dict[str, bool]:
    """The services that a service needs, and whether each must exist."""
    result: dict[str, bool] = {}
    service = as_mapping(service)
    declared = service.get("depends_on")
    for name, item in declared.items.items() if isinstance(declared, MappingNode) else ():
        result[name] = bool(plain(item).get("required", True))
    return result


def implied_dependencies(service: MappingNode) -> dict[str, bool]:
    """The services whose namespaces, volumes or links a service uses, and whether it restarts with them."""
    result: dict[str, bool] = {}
    for key in _SHARED:
        value = str(plain(service.items[key])) if key in service.items else ""
        if value.startswith("service:"):
            result[value.removeprefix("service:")] = True
    for key in ("volumes_from", "links"):
        for item in plain(service.items[key]) if key in service.items else ():
            if not item.startswith("container:"):
                result.setdefault(item.partition(":")[0], key == "links")
    return result


def refuse_cycles(edges: Mapping[str, Sequence[str]], services: Mapping[str, Node]) -> None:
    """Refuse dependencies that lead back to their beginning.

    Raises:
        ComposeFileError: with the members of the cycle, and the place of the first one's dependencies.
    """
    members = _dependency_cycle(edges)
    if members:
        first = as_mapping(services[members[0]])
        place = (first.get("depends_on") or first).location
        reason = f"dependency cycle detected: {' -> '.join(members)}"
        raise ComposeFileError(reason, location=place, path=f"services.{members[0]}.depends_on")


def _dependency_cycle(edges: Mapping[str, Sequence[str]]) -> list[str]:
    """The members of a cycle, the first again at the end; empty if there is none."""
    done: set[str] = set()
    for start in edges:
        chain: dict[str, None] = {}
        waiting: list[tuple[str, bool]] = [(start, False)]
        while waiting:
            name, leaving = waiting.pop()
            if leaving:
                chain.popitem()
                done.add(name)
                continue
            if name in chain:
                members = list(chain)
                return [*members[members.index(name) :], name]
            if name in done:
                continue
            chain[name] = None
            waiting.append((name, True))
            waiting += [(other, False) for other in edges.get(name, ())]
    return []


def _faults(
    name: str,
    service: MappingNode,
    declared: Mapping[str, set[str]],
    services: Mapping[str, Node],
    disabled: Mapping[str, Node],
) -> Iterator[str]:
    values = plain(service)
    if "provider" in values:
        yield f'service "{name}" has a provider, which is a program of the client: run it yourself and remove the service'
    if "models" in values:
        yield f'service "{name}" uses models, which this host does not run'
    if not values.get("image") and not values.get("build"):
        yield f'service "{name}" has neither an image nor a build context specified'
    test = (values.get("healthcheck") or {}).get("test")
    if test and test[0] not in _TESTS:
        yield f'service "{name}": healthcheck.test must start either by "CMD", "CMD-SHELL" or "NONE"'
    if values.get("network_mode") and values.get("networks"):
        yield f"service {name} declares mutually exclusive `network_mode` and `networks`"
    for network in values.get("networks") or ():
        if network not in declared["networks"] and network not in _PREDEFINED:
            yield f'service "{name}" refers to undefined network {network}'
    for volume in values.get("volumes") or ():
        source = volume.get("source", "")
        if volume["type"] == "volume" and source and source not in declared["volumes"]:
            yield f'service "{name}" refers to undefined volume {source}'
    for kind in ("secrets", "configs"):
        for reference in values.get(kind) or ():
            if reference.get("source") not in declared[kind]:
                yield f'service "{name}" refers to undefined {kind.removesuffix("s")} {reference.get("source")}'
    for rule in (values.get("develop") or {}).get("watch") or ():
        if rule["action"].startswith("sync") and not rule.get("target"):
            yield f"services.{name}.develop.watch: target is required for non-rebuild actions"
    for other, required in dependencies(service).items():
        if other not in services and (required or other not in disabled):
            yield f'service "{name}" depends on undefined service "{other}"'


def _section(content: MappingNode, key: str) -> Mapping[str, Node]:
    found = content.get(key)
    return found.items if isinstance(found, MappingNode) else {}
