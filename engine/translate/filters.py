"""The ``filters`` of list requests: read as Docker's clients write them, and matched against our objects.

Values of one filter are alternatives (labels: all must match); different filters must all match.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from covey.errors import InvalidArgumentError
from covey.objects import Node, Service, Task
from covey.states import ServiceMode
from engine.translate import enum_names

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
        InvalidArgumentError: no JSON of that form, or a filter that this list does not know.
    """
    if not text:
        return {}
    try:
        raw = json.loads(text)
    except ValueError:
        raise InvalidArgumentError(f"the filters are not valid JSON: {text[:100]!r}") from None
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise InvalidArgumentError("the filters must be a JSON object of lists")
    known, result = set(allowed), {}
    for name, given in raw.items():
        if name not in known:
            raise InvalidArgumentError(f"invalid filter '{name}'")
        values = [value for value, on in given.items() if on] if isinstance(given, dict) else given
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise InvalidArgumentError(f"the filter {name!r} must be a list of strings")
        if values:
            result[name] = tuple(values)
    return result


def filter_flag(filters: Filters, name: str) -> bool | None:
    """A filter that is true or false; None when absent."""
    values = filters.get(name)
    if not values:
        return None
    if len(set(values)) > 1 or values[0].lower() not in ("true", "false", "1", "0"):
        raise InvalidArgumentError(f"invalid filter '{name}={','.join(values)}'; use true or false")
    return values[0].lower() in ("true", "1")


def match_labels(wanted: Iterable[str], labels: Mapping[str, str]) -> bool:
    """``key`` or ``key=value``, all of them."""
    for item in wanted:
        key, separator, value = item.partition("=")
        if key not in labels or (separator and labels[key] != value):
            return False
    return True


def match_prefix(wanted: Iterable[str] | None, *texts: str) -> bool:
    """Whether any text begins with any of the wanted ones; nothing wanted matches."""
    return not wanted or any(text.startswith(prefix) for prefix in wanted for text in texts)


def match_named(filters: Filters, object_id: str, name: str, labels: Mapping[str, str]) -> bool:
    """The filters that most objects share: id, name, names, label."""
    names = filters.get("names")
    return (
        match_prefix(filters.get("id"), object_id)
        and match_prefix(filters.get("name"), name)
        and (not names or name in names)
        and match_labels(filters.get("label", ()), labels)
    )


def match_service(filters: Filters, service: Service) -> bool:
    annotations = service.spec.annotations
    modes, runtimes = filters.get("mode"), filters.get("runtime")
    if modes and not set(modes) <= set(_MODES.values()):
        raise InvalidArgumentError(f"invalid filter 'mode={','.join(modes)}'")
    return (
        match_named(filters, service.id, annotations.name, annotations.labels)
        and (not modes or _MODES[service.spec.mode] in modes)
        and (not runtimes or "container" in runtimes)
    )


def match_node(filters: Filters, node: Node) -> bool:
    """``label`` is the engine's labels, ``node.label`` the node's own."""
    roles = [filter_choice("role", enum_names.ROLES, value) for value in filters.get("role", ())]
    memberships = filters.get("membership")
    if memberships and not set(memberships) <= {"accepted", "pending"}:
        raise InvalidArgumentError(f"invalid filter 'membership={','.join(memberships)}'")
    return (
        match_prefix(filters.get("id"), node.id)
        and match_prefix(filters.get("name"), node.description.hostname, node.spec.annotations.name)
        and match_labels(filters.get("label", ()), node.description.engine.labels)
        and match_labels(filters.get("node.label", ()), node.spec.annotations.labels)
        and (not roles or node.role in roles)
        and (not memberships or "accepted" in memberships)
    )


def match_task(filters: Filters, task: Task, name: str) -> bool:
    """A task has its service's and its container's labels too. Service, node and desired state are the manager's to match."""
    labels = {**task.service_annotations.labels, **task.annotations.labels, **task.spec.container.labels}
    return (
        match_prefix(filters.get("id"), task.id)
        and match_prefix(filters.get("name"), name)
        and match_labels(filters.get("label", ()), labels)
    )


def desired_states(filters: Filters) -> list[int]:
    return [
        int(filter_choice("desired-state", enum_names.TASK_STATES, value)) for value in filters.get("desired-state", ())
    ]


def filter_choice(name: str, table: Mapping[str, Any], value: str) -> Any:
    """One of a filter's possible values."""
    if value not in table:
        raise InvalidArgumentError(f"invalid filter '{name}={value}'; use one of {', '.join(table)}")
    return table[value]


def task_name(task: Task) -> str:
    """``web.1.ID``, or with the node's id for a global service; what Docker shows and filters by."""
    if task.annotations.name:
        return task.annotations.name
    return f"{task.service_annotations.name}.{task.slot or task.node_id}.{task.id}"
