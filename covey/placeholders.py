"""Go templates in a service's hostname, environment and mounts, such as ``{{.Service.Name}}`` and ``{{.Task.Slot}}``. Pure.

Invariant: ``check`` and ``expand`` use the same fields and functions, so a manager accepts only what an agent can fill in.

Called by the managers, which validate specs and fill in the hostname for the DNS, and by agents, which fill in the container. Templates
of secrets and configs have more functions: ``covey.payload_template``.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from covey.errors import InvalidArgumentError
from covey.go_template import ABSENT, BUILTINS, GoStruct, Limits, Template
from covey.go_template.functions import index
from covey.objects.task import Mount, Task

LIMITS = Limits(characters=64 << 10, steps=10_000)
_SAMPLE_ID = "0123456789abcdefghijklmno"


class NodeFacts(msgspec.Struct, frozen=True):
    """What templates may use of the node that runs the task."""

    id: str
    hostname: str
    os: str = "linux"
    architecture: str = ""
    labels: Mapping[str, str] = {}


class OptionalLabels(dict[str, str]):
    """Labels of a node. One that a node lacks is empty, because a service does not choose the labels of its nodes."""

    def get(self, key: str, default: Any = None) -> Any:
        del default
        return super().get(key, "")


def task_name(task: Task) -> str:
    """``SERVICE.SLOT.TASK``, or ``SERVICE.NODE.TASK`` for a global service, as in Docker."""
    return f"{task.service_annotations.name or task.annotations.name}.{task.slot or task.node_id}.{task.id}"


def _element(value: Any, *keys: Any) -> Any:
    """An element of a list or map of texts; the text of a missing key is empty."""
    found = index(value, *keys)
    return "" if found is ABSENT else found


def _join(separator: str, *items: str) -> str:
    return separator.join(items)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {**BUILTINS, "index": _element, "join": _join}
"""Go's own and Swarm's ``join SEPARATOR TEXT...``."""


def task_values(task: Task, node: NodeFacts) -> GoStruct:
    """The fields that templates of a task may use. A task of a global service has its node's id as slot, as in Swarm."""
    platform = GoStruct(Architecture=node.architecture, OS=node.os)
    slot = str(task.slot) if task.slot else node.id
    return GoStruct(
        Service=GoStruct(
            ID=task.service_id, Name=task.service_annotations.name, Labels=task.service_annotations.labels
        ),
        Node=GoStruct(ID=node.id, Hostname=node.hostname, Platform=platform, Labels=OptionalLabels(node.labels)),
        Task=GoStruct(ID=task.id, Name=task_name(task), Slot=slot),
    )


def expand(text: str, task: Task, node: NodeFacts) -> str:
    """The text with every template filled in. Raises InvalidArgumentError, which names what is wrong."""
    if "{{" not in text:
        return text
    return Template(text, FUNCTIONS, strict=True).render(task_values(task, node), limits=LIMITS)


def expand_entry(entry: str, task: Task, node: NodeFacts) -> str:
    """An entry ``NAME=VALUE`` of an environment with its value filled in; its name stays."""
    name, equals, value = entry.partition("=")
    return f"{name}{equals}{expand(value, task, node)}"


def expand_mount(mount: Mount, task: Task, node: NodeFacts) -> Mount:
    """The mount with its source, target, and the labels and options of its volume filled in."""
    if not any("{{" in text for _, text in mount_texts(mount)):
        return mount
    driver = mount.volume_driver
    if driver is not None:
        options = {key: expand(value, task, node) for key, value in driver.options.items()}
        driver = msgspec.structs.replace(driver, options=options)
    return msgspec.structs.replace(
        mount,
        source=expand(mount.source, task, node),
        target=expand(mount.target, task, node),
        volume_labels={key: expand(value, task, node) for key, value in mount.volume_labels.items()},
        volume_driver=driver,
    )


def mount_texts(mount: Mount) -> Iterator[tuple[str, str]]:
    """The texts of a mount that may be templates, after the names of their fields."""
    yield "Mounts.Source", mount.source
    yield "Mounts.Target", mount.target
    yield from (("Mounts.VolumeOptions.Labels", text) for text in mount.volume_labels.values())
    if mount.volume_driver is not None:
        yield from (
            ("Mounts.VolumeOptions.DriverConfig.Options", text) for text in mount.volume_driver.options.values()
        )


def check(field: str, text: str, sample: Task) -> None:
    """Refuses a text that no node could fill in, by filling it in for a task on a sample node. ``sample`` has the service's annotations.

    Raises:
        InvalidArgumentError: names the field and what is wrong.
    """
    if "{{" not in text:
        return
    values = sample_values(sample)
    try:
        template = Template(text, FUNCTIONS, strict=True)
        require_known_fields(template, values)
        template.render(values, limits=LIMITS)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f'ContainerSpec: {field} "{text[:200]}": {error.message}') from None


def sample_values(sample: Task) -> GoStruct:
    """Values of the length that real ones have, to try templates with."""
    node = NodeFacts(_SAMPLE_ID, "hostname", architecture="architecture")
    return task_values(msgspec.structs.replace(sample, id=_SAMPLE_ID, service_id=_SAMPLE_ID, slot=1), node)


def require_known_fields(template: Template, values: GoStruct) -> None:
    """Refuses a template that names a field that no task has, in any of its branches.

    Raises:
        InvalidArgumentError: names the field and the known ones.
    """
    for path in template.root_paths():
        value: Any = values
        for place, name in enumerate(path):
            if not isinstance(value, GoStruct):
                break
            if name not in value:
                wrong = ".".join(path[: place + 1])
                raise InvalidArgumentError(f"the field .{wrong} is unknown; use one of {', '.join(_fields(values))}")
            value = value[name]


def _fields(values: GoStruct, prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, GoStruct):
            yield from _fields(value, f"{prefix}.{name}")
        else:
            yield f"{prefix}.{name}"
