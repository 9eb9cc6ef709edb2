"""The placeholders of a service's hostname, environment and mounts: ``{{.Service.Name}}``, ``{{.Task.Slot}}`` and their like. Pure.

Law: managers ``check`` what a user writes with the same table by which ``expand`` fills it, on the agent for the container and on the
managers for its name in the DNS: so nothing is accepted that cannot be filled, and both know it by one name.
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
    """What templates, labels and error messages may say of the node that runs the task."""

    id: str
    hostname: str
    os: str = "linux"
    architecture: str = ""
    labels: Mapping[str, str] = {}


def task_name(task: Task) -> str:
    """``SERVICE.SLOT.TASK``, or for a global service ``SERVICE.NODE.TASK``, as Docker's."""
    return f"{task.service_annotations.name or task.annotations.name}.{task.slot or task.node_id}.{task.id}"


def expand(text: str, task: Task, node: NodeFacts) -> str:
    """The text with every placeholder filled in. Raises InvalidArgumentError that names the unknown one."""
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
    """Refuse a text with a placeholder that nobody could fill.

    Raises:
        InvalidArgumentError: names it and the ones that are known.
    """
    for match in _PLACEHOLDER.finditer(text):
        if match[1] not in KNOWN and not _label(match[1]):
            raise InvalidArgumentError(f'the placeholder "{match[0]}" is unknown; known are {", ".join(KNOWN)}')
    if "{{" in _PLACEHOLDER.sub("", text):
        raise InvalidArgumentError(f'a placeholder is not closed by "}}}}" in "{text}"')


def fill(text: str, values: Mapping[str, str], labels: Mapping[str, Mapping[str, str]]) -> str:
    """The text with every placeholder filled: ``values`` by the names in KNOWN, ``labels`` of "Service" and "Node".

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
