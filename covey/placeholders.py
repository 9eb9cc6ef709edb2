"""Template placeholders in a service's hostname, environment and mounts, such as ``{{.Service.Name}}`` and ``{{.Task.Slot}}``. Pure.

Invariant: ``check`` and ``expand`` use the same table, so a manager accepts only what an agent can fill in.

Called by the managers, which validate specs and fill in the hostname for the DNS, and by agents, which fill in the container.
"""

import re
from collections.abc import Mapping

import msgspec

from covey.errors import InvalidArgumentError
from covey.objects.task import Task

KNOWN = (
    ".Service.ID",
    ".Service.Name",
    ".Node.ID",
    ".Node.Hostname",
    ".Node.Platform.OS",
    ".Node.Platform.Architecture",
    ".Task.ID",
    ".Task.Name",
    ".Task.Slot",
)
_PLACEHOLDER = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")
_INDEX = re.compile(r'index\s+\.(Service|Node)\.Labels\s+"([^"]*)"')
_LABEL = re.compile(r"\.(Service|Node)\.Labels\.(.+)")


class NodeFacts(msgspec.Struct, frozen=True):
    """What templates may use of the node that runs the task."""

    id: str
    hostname: str
    os: str = "linux"
    architecture: str = ""
    labels: Mapping[str, str] = {}


def task_name(task: Task) -> str:
    """``SERVICE.SLOT.TASK``, or ``SERVICE.NODE.TASK`` for a global service, as in Docker."""
    return f"{task.service_annotations.name or task.annotations.name}.{task.slot or task.node_id}.{task.id}"


def expand(text: str, task: Task, node: NodeFacts) -> str:
    """The text with every placeholder filled in. Raises InvalidArgumentError, which names an unknown placeholder."""
    if "{{" not in text:
        return text
    values = {
        ".Service.ID": task.service_id,
        ".Service.Name": task.service_annotations.name,
        ".Node.ID": node.id,
        ".Node.Hostname": node.hostname,
        ".Node.Platform.OS": node.os,
        ".Node.Platform.Architecture": node.architecture,
        ".Task.ID": task.id,
        ".Task.Name": task_name(task),
        ".Task.Slot": str(task.slot) if task.slot else node.id,
    }
    return fill(text, values, {"Service": task.service_annotations.labels, "Node": node.labels})


def check(text: str) -> None:
    """Refuses a text with an unknown placeholder.

    Raises:
        InvalidArgumentError: names the placeholder and the known ones.
    """
    for match in _PLACEHOLDER.finditer(text):
        if match[1] not in KNOWN and not _label(match[1]):
            raise InvalidArgumentError(f'the placeholder "{match[0]}" is unknown; use one of {", ".join(KNOWN)}')
    if "{{" in _PLACEHOLDER.sub("", text):
        raise InvalidArgumentError(f'a placeholder is not closed by "}}}}" in "{text}"')


def fill(text: str, values: Mapping[str, str], labels: Mapping[str, Mapping[str, str]]) -> str:
    """The text with every placeholder filled in: ``values`` by the names in KNOWN, ``labels`` of "Service" and "Node".

    Raises:
        InvalidArgumentError: names a placeholder that is unknown.
    """
    check(text)

    def value(match: re.Match[str]) -> str:
        label = _label(match[1])
        return labels[label[1]].get(label[2], "") if label else values[match[1]]

    return _PLACEHOLDER.sub(value, text)


def _label(key: str) -> re.Match[str] | None:
    return _INDEX.fullmatch(key) or _LABEL.fullmatch(key)
