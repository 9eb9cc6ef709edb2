"""Validation of service dependencies: the label `covey.depends-on`, and cycles. Pure; called by the validation of services.

A service that does not exist may be named: the tasks wait for it, and a stack can be deployed in any order.
"""

from covey.errors import InvalidArgumentError
from covey.objects import ServiceDependency, ServiceSpec
from covey.service_dependencies import DEPENDS_ON_LABEL, parse_dependencies
from manager.store import View


def resolved_dependencies(view: View, spec: ServiceSpec) -> tuple[ServiceDependency, ...]:
    """The dependencies that the labels of a spec name.

    Raises:
        InvalidArgumentError: the label is malformed, or the services would depend on each other; the message has the members.
    """
    found = parse_dependencies(spec.annotations.labels.get(DEPENDS_ON_LABEL, ""))
    cycle = _cycle(view, spec.annotations.name, found)
    if cycle:
        raise InvalidArgumentError(
            f"label {DEPENDS_ON_LABEL}: services depend on each other: {' -> '.join(cycle)}; remove one of these dependencies"
        )
    return found


def _cycle(view: View, name: str, dependencies: tuple[ServiceDependency, ...]) -> list[str]:
    """The way from a service back to itself over what the stored services depend on; empty if there is none."""
    came_from = {item.service: name for item in dependencies}
    waiting = list(came_from)
    while waiting and name not in came_from:
        current = waiting.pop()
        service = view.services.by_name(current)
        for item in service.spec.depends_on if service is not None else ():
            if item.service not in came_from:
                came_from[item.service] = current
                waiting.append(item.service)
    if name not in came_from:
        return []
    way = [name, came_from[name]]
    while way[-1] != name:
        way.append(came_from[way[-1]])
    return way[::-1]
