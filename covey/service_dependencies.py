"""The label `covey.depends-on` of a service: the services that it depends on, with their conditions, read and written. Pure.

The label is `NAME[:CONDITION][,restart][,optional]`, separated by `;`. Names are those of services of the cluster. It is a label, so that
Docker's clients carry it through updates.
"""

from collections.abc import Iterable

from covey.errors import InvalidArgumentError
from covey.objects import ServiceDependency
from covey.states import DependencyCondition

DEPENDS_ON_LABEL = "covey.depends-on"
MAX_DEPENDENCIES = 64
CONDITIONS = {
    "service_started": DependencyCondition.STARTED,
    "service_healthy": DependencyCondition.HEALTHY,
    "service_completed_successfully": DependencyCondition.COMPLETED,
}
_NAMES = {condition: name for name, condition in CONDITIONS.items()}
_FORM = "NAME[:CONDITION][,restart][,optional], separated by ;"


def parse_dependencies(text: str) -> tuple[ServiceDependency, ...]:
    """The dependencies that a label names, in its order.

    Raises:
        InvalidArgumentError: the label is malformed, names a service twice or more than 64.
    """
    parts = [part.strip() for part in text.split(";")] if text.strip() else []
    if len(parts) > MAX_DEPENDENCIES:
        raise _invalid(f"{len(parts)} services are named, the limit is {MAX_DEPENDENCIES}")
    found: dict[str, ServiceDependency] = {}
    for part in parts:
        dependency = _parse(part)
        if dependency.service in found:
            raise _invalid(f"service {dependency.service} is named twice")
        found[dependency.service] = dependency
    return tuple(found.values())


def format_dependencies(dependencies: Iterable[ServiceDependency]) -> str:
    """The label of these dependencies."""
    return ";".join(
        f"{item.service}:{_NAMES[item.condition]}{',restart' * item.restart}{',optional' * item.optional}"
        for item in dependencies
    )


def dependency_names(labels: dict[str, str]) -> tuple[str, ...]:
    """The names of the services that a service with these valid labels depends on."""
    text = labels.get(DEPENDS_ON_LABEL, "")
    return tuple([part.split(",")[0].split(":")[0].strip() for part in text.split(";")]) if text else ()


def _parse(part: str) -> ServiceDependency:
    head, *flags = [word.strip() for word in part.split(",")]
    name, colon, condition = head.partition(":")
    if not name:
        raise _invalid(f"{part!r} names no service")
    if colon and condition not in CONDITIONS:
        raise _invalid(f"condition {condition!r} of {name} is not one of {', '.join(CONDITIONS)}")
    unknown = [flag for flag in flags if flag not in ("restart", "optional")]
    if unknown:
        raise _invalid(f"{unknown[0]!r} of {name} is neither restart nor optional")
    return ServiceDependency(
        service=name,
        condition=CONDITIONS.get(condition, DependencyCondition.STARTED),
        restart="restart" in flags,
        optional="optional" in flags,
    )


def _invalid(reason: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"label {DEPENDS_ON_LABEL}: {reason}; write {_FORM}")
