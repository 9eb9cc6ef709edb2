"""The key `depends_on` of a stack's services: the label that tells it to the managers, and the order of services. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from compose.nodes import Node, plain
from compose.project.checks import refuse_cycles
from compose.stack.labels import scoped
from covey.errors import InvalidArgumentError
from covey.objects import ServiceDependency
from covey.service_dependencies import CONDITIONS, DEPENDS_ON_LABEL, format_dependencies

Values = Mapping[str, Any]


def dependency_label(stack: str, service: Values, services: Values) -> dict[str, str]:
    """The label with the dependencies of a service; nothing without any, or if `deploy.labels` has one.

    A list asks that the services are started. A service that the files do not have is not waited for.

    Raises:
        InvalidArgumentError: a condition is unknown.
    """
    declared = service.get("depends_on") or {}
    found = [
        _dependency(stack, name, (declared[name] if isinstance(declared, Mapping) else None) or {}, services)
        for name in declared
    ]
    return {DEPENDS_ON_LABEL: format_dependencies(found)} if found else {}


def _dependency(stack: str, name: str, options: Values, services: Values) -> ServiceDependency:
    condition = options.get("condition") or "service_started"
    if condition not in CONDITIONS:
        raise InvalidArgumentError(f"depends_on.{name}.condition: {condition} is not one of {', '.join(CONDITIONS)}")
    return ServiceDependency(
        service=scoped(stack, name),
        condition=CONDITIONS[condition],
        restart=bool(options.get("restart")),
        optional=not options.get("required", True) or name not in services,
    )


def in_start_order(services: Mapping[str, Node]) -> list[str]:
    """The names of canonical services, dependencies first, otherwise in alphabetical order.

    Raises:
        ComposeFileError: services depend on each other; the message names them.
    """
    values: Values = {name: plain(service) for name, service in services.items()}
    needs: dict[str, Sequence[str]] = {
        name: [other for other in values[name].get("depends_on") or () if other in services] for name in services
    }
    refuse_cycles(needs, services)
    return dependencies_first(needs)


def dependencies_first(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Names in alphabetical order, but each after those that it needs; members of a cycle in any order."""
    ordered: dict[str, None] = {}
    seen: set[str] = set()
    waiting = [(name, False) for name in sorted(needs, reverse=True)]
    while waiting:
        name, leaving = waiting.pop()
        if leaving:
            ordered[name] = None
        elif name in needs and name not in seen:
            seen.add(name)
            waiting.append((name, True))
            waiting += [(other, False) for other in sorted(needs[name], reverse=True)]
    return list(ordered)
