"""The placeholders of a service's hostname, environment and mounts: ``{{.Service.Name}}``, ``{{.Task.Slot}}`` and their like. Pure.

A placeholder that is not known is an error that names it; nothing is passed through half-filled.
"""

from collections.abc import Mapping

import msgspec

from covey import placeholders
from covey.objects import Task


class NodeFacts(msgspec.Struct, frozen=True):
    """What templates, labels and error messages may say of this node."""

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

    labels = {"Service": task.service_annotations.labels, "Node": node.labels}
    return placeholders.fill(text, values, labels)
