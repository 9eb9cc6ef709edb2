"""The ``filters`` parameter of list requests: parsing, and matching of the cluster's objects.

Several values of a filter are alternatives, except for labels, which must all match. All filters must match.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from covey.errors import InvalidArgumentError
from covey.objects import Node, Service, Task
from covey.states import ServiceMode
from engine.translate import enum_names
from engine.translate.patterns import compile_pattern

Filters = Mapping[str, tuple[str, ...]]

_MODES = {
    ServiceMode.REPLICATED: "replicated",
    ServiceMode.GLOBAL: "global",
    ServiceMode.REPLICATED_JOB: "replicated-job",
    ServiceMode.GLOBAL_JOB: "global-job",
}


def parse(text: str, allowed: Iterable[str]) -> Filters:
    """Filters from a query: ``{"name": ["web"]}`` or ``{"name": {"web": true}}``.

    Raises:
        InvalidArgumentError: the text is not JSON of that form, or has an unknown filter.
    """
    if not text:
        return {}
    try:
        raw = json.loads(text)
    except ValueError:
        raise InvalidArgumentError(f"invalid filter; the filters are not valid JSON: {text[:100]!r}") from None
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise InvalidArgumentError("invalid filter; the filters must be a JSON object of lists")
    known, result = set(allowed), {}
    for name, raw_values in raw.items():
        if name not in known:
            raise InvalidArgumentError(f"invalid filter '{name}'")
        values = [value for value, on in raw_values.items() if on] if isinstance(raw_values, dict) else raw_values
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise InvalidArgumentError(f"invalid filter; the filter {name!r} must be a list of strings")
        if values:
            result[name] = tuple(values)
    return result


def invalid_filter(name: str, values: Iterable[str], remedy: str) -> InvalidArgumentError:
    """The refusal of a filter's values, which Docker prints as a Go list."""
    return InvalidArgumentError(f"invalid filter '{name}=[{' '.join(values)}]'; {remedy}")


def filter_flag(filters: Filters, name: str) -> bool | None:
    """The value of a boolean filter; None when absent."""
    values = filters.get(name)
    if not values:
        return None
    if len(set(values)) > 1 or values[0].lower() not in ("true", "false", "1", "0"):
        raise invalid_filter(name, values, "use true or false")
    return values[0].lower() in ("true", "1")


def match_labels(filters: Iterable[str], labels: Mapping[str, str]) -> bool:
    """Whether all of the filters match: ``key=value``, or ``key`` for any value."""
    for item in filters:
        key, separator, value = item.partition("=")
        if key not in labels or (separator and labels[key] != value):
            return False
    return True


def match_prefix(prefixes: Iterable[str] | None, *texts: str) -> bool:
    """Whether any text starts with any of the prefixes. No prefixes match everything."""
    return not prefixes or any(text.startswith(prefix) for prefix in prefixes for text in texts)


def match_patterns(patterns: Iterable[str] | None, *texts: str) -> bool:
    """Whether any text has a place that any of the regular expressions matches; what is no expression matches nothing, as in Docker."""
    return not patterns or any(
        pattern is not None and pattern.search(text) for pattern in map(compile_pattern, patterns) for text in texts
    )


def match_named(filters: Filters, object_id: str, name: str, labels: Mapping[str, str]) -> bool:
    """Whether an object passes the filters that most lists share: id, name, names, label."""
    names = filters.get("names")
    return (
        match_prefix(filters.get("id"), object_id)
        and match_prefix(filters.get("name"), name)
        and (not names or name in names)
        and match_labels(filters.get("label", ()), labels)
    )


def match_service(filters: Filters, service: Service) -> bool:
    """Whether a service passes."""
    annotations = service.spec.annotations
    modes, runtimes = filters.get("mode"), filters.get("runtime")
    if modes and not set(modes) <= set(_MODES.values()):
        raise invalid_filter("mode", modes, f"use one of {', '.join(_MODES.values())}")
    return (
        match_named(filters, service.id, annotations.name, annotations.labels)
        and (not modes or _MODES[service.spec.mode] in modes)
        and (not runtimes or "container" in runtimes)
    )


def match_node(filters: Filters, node: Node) -> bool:
    """Whether a node passes. ``label`` matches the engine's labels, ``node.label`` the node's own."""
    roles = [filter_choice("role", enum_names.ROLES, value) for value in filters.get("role", ())]
    memberships = filters.get("membership")
    if memberships and not set(memberships) <= {"accepted", "pending"}:
        raise invalid_filter("membership", memberships, "use accepted or pending")
    return (
        match_prefix(filters.get("id"), node.id)
        and match_prefix(filters.get("name"), node.description.hostname, node.spec.annotations.name)
        and match_labels(filters.get("label", ()), node.description.engine.labels)
        and match_labels(filters.get("node.label", ()), node.spec.annotations.labels)
        and (not roles or node.role in roles)
        and (not memberships or "accepted" in memberships)
    )


def match_task(filters: Filters, task: Task, name: str) -> bool:
    """Whether a task passes. It also has the labels of its service and container; the manager matches service, node and state."""
    labels = {**task.service_annotations.labels, **task.annotations.labels, **task.spec.container.labels}
    return (
        match_prefix(filters.get("id"), task.id)
        and match_prefix(filters.get("name"), name)
        and match_labels(filters.get("label", ()), labels)
    )


def desired_states(filters: Filters) -> list[int]:
    """The numbers of the states in the filter ``desired-state``."""
    return [
        int(filter_choice("desired-state", enum_names.TASK_STATES, value)) for value in filters.get("desired-state", ())
    ]


def filter_choice(name: str, table: Mapping[str, Any], value: str) -> Any:
    """A filter's value from the table of possible ones. Raises InvalidArgumentError."""
    if value not in table:
        raise invalid_filter(name, (value,), f"use one of {', '.join(table)}")
    return table[value]
