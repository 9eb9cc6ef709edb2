"""Go templates in the data of secrets and configs (template driver ``golang``). Pure.

Beside the fields and functions of ``covey.placeholders`` they have ``env NAME``, ``secret TARGET`` and ``config TARGET``: a variable of
the service's environment, and the data of a secret or config that the service mounts at the target. That data is given as it is stored,
so templates cannot refer to one another without end.

Called by managers, which check, and by agents, which fill in. Data need not be UTF-8: other bytes stay as they are.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from covey.errors import InvalidArgumentError
from covey.go_template import Limits, Template
from covey.objects import ContainerSpec, Driver, Task
from covey.placeholders import FUNCTIONS, NodeFacts, expand, require_known_fields, sample_values, task_values

DRIVER = "golang"
MAX_STEPS = 100_000


def _unavailable(name: str) -> str:
    raise ValueError(f"{name} is not available here")


PAYLOAD_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **FUNCTIONS,
    **dict.fromkeys(("env", "secret", "config"), _unavailable),
}


def is_templated(driver: Driver | None) -> bool:
    """Whether data with this template driver is a template. Raises InvalidArgumentError for another driver than ``golang``."""
    if driver is None or not driver.name:
        return False
    if driver.name != DRIVER:
        raise InvalidArgumentError(f'the template driver "{driver.name}" is not supported; use {DRIVER}')
    return True


def check_payload(name: str, driver: Driver | None, data: bytes) -> None:
    """Refuses data that no task could fill in: unknown drivers, fields and functions, and what is not closed.

    Raises:
        InvalidArgumentError: names the object, and the field or function.
    """
    if is_templated(driver):
        _parsed(name, data)


def check_references(name: str, driver: Driver | None, data: bytes, spec: ContainerSpec) -> None:
    """Refuses templated data that needs a secret or config that the service does not have.

    Raises:
        InvalidArgumentError: names the object and what is missing.
    """
    if not is_templated(driver):
        return
    targets = {
        "secret": {reference.file.name for reference in spec.secrets},
        "config": {reference.file.name for reference in spec.configs},
    }
    for function, arguments in _parsed(name, data).literal_calls():
        known = targets.get(function)
        if known is not None and arguments[0] not in known:
            raise InvalidArgumentError(
                f'ContainerSpec: the template {name} needs the {function} target "{arguments[0]}", which the service does not have'
            )


def expand_payload(
    name: str,
    data: bytes,
    task: Task,
    node: NodeFacts,
    *,
    secrets: Mapping[str, bytes],
    configs: Mapping[str, bytes],
    max_bytes: int,
) -> bytes:
    """The data with its template filled in. ``secrets`` and ``configs`` are those of the task, by target.

    Raises:
        InvalidArgumentError: names the object and what is wrong.
    """
    functions = {
        "env": lambda variable: _variable(task, node, variable),
        "secret": lambda target: _target(secrets, "secret", target),
        "config": lambda target: _target(configs, "config", target),
    }
    template = _parsed(name, data)
    try:
        text = template.render(task_values(task, node), functions=functions, limits=Limits(max_bytes, MAX_STEPS))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{name}: {error.message}") from None
    result = text.encode("utf-8", "surrogateescape")
    if len(result) > max_bytes:
        raise InvalidArgumentError(f"{name}: the filled-in template is larger than {max_bytes} bytes")
    return result


def _parsed(name: str, data: bytes) -> Template:
    try:
        template = Template(data.decode("utf-8", "surrogateescape"), PAYLOAD_FUNCTIONS, strict=True)
        require_known_fields(template, sample_values(Task(id="")))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{name}: {error.message}") from None
    return template


def _variable(task: Task, node: NodeFacts, name: str) -> str:
    """A variable of the service's own environment, filled in; empty if there is none."""
    return next((expand(value, task, node) for key, value in _variables(task) if key == name), "")


def _variables(task: Task) -> Iterator[tuple[str, str]]:
    for entry in task.spec.container.env:
        key, equals, value = entry.partition("=")
        if equals:
            yield key, value


def _target(payloads: Mapping[str, bytes], kind: str, target: str) -> str:
    if target not in payloads:
        raise ValueError(f"the service has no {kind} target {target}")
    return payloads[target].decode("utf-8", "surrogateescape")
