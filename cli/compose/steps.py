"""Steps of a plan, and the order in which they may run. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from cli.compose.model import ExistingContainer


class Action(StrEnum):
    """What a step does. The values are what the progress says while and after it is done."""

    CREATE_NETWORK = "create network"
    REMOVE_NETWORK = "remove network"
    CREATE_VOLUME = "create volume"
    REMOVE_VOLUME = "remove volume"
    REMOVE_IMAGE = "remove image"
    CREATE = "create"
    RECREATE = "recreate"
    START = "start"
    RESTART = "restart"
    STOP = "stop"
    REMOVE = "remove"
    WAIT = "wait"


class Step(msgspec.Struct, frozen=True):
    """One step.

    Attributes:
        key: identifies the step in its plan.
        action: what to do.
        name: the name of the object.
        reason: why, for people.
        after: keys of the steps that must have succeeded before.
        service: the service of a container; the key of a network or volume.
        number: the container's number.
        container: the existing container that the step is about.
        condition: what to wait for.
        required: the plan fails if this step fails.
    """

    key: str
    action: Action
    name: str
    reason: str = ""
    after: frozenset[str] = frozenset()
    service: str = ""
    number: int = 0
    container: ExistingContainer | None = None
    condition: str = ""
    required: bool = True


class Plan(msgspec.Struct, frozen=True):
    """Steps, and what the user should know."""

    steps: tuple[Step, ...] = ()
    notices: tuple[str, ...] = ()

    def runnable(self) -> tuple[Step, ...]:
        """The steps without conditions on steps that are not in the plan."""
        return without_missing(self.steps)


def in_dependency_order(names: Iterable[str], dependencies: Mapping[str, Iterable[str]]) -> list[str]:
    """Names with each after those that it depends on; otherwise in the given order. Names outside the list are left out."""
    listed = list(names)
    wanted, result = set(listed), []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in seen or name not in wanted:
            return
        seen.add(name)
        for other in sorted(dependencies.get(name, ())):
            visit(other)
        result.append(name)

    for name in listed:
        visit(name)
    return result


def without_missing(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps without conditions on steps that are not in the plan."""
    keys = {step.key for step in steps}
    return tuple(msgspec.structs.replace(step, after=step.after & keys) for step in steps)
