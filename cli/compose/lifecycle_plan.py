"""Plans ``start``, ``stop`` and ``restart`` of existing containers. Pure."""

from collections.abc import Iterable, Mapping

from cli.compose.model import Application, ExistingContainer
from cli.compose.plan import READY
from cli.compose.steps import Action, Step, without_missing


def action_steps(
    action: Action,
    containers: Iterable[ExistingContainer],
    application: Application,
    needed: Mapping[str, tuple[str, ...]],
    *,
    wait: bool = False,
) -> tuple[Step, ...]:
    """One step for each container that the action concerns: dependencies start first and stop last."""
    listed = [item for item in containers if action != Action.START or item.state != "running"]
    if action == Action.STOP:
        listed = [item for item in listed if item.running]
    steps: list[Step] = []
    for item in listed:
        others = [
            other
            for other in listed
            if (
                item.service in needed.get(other.service, ())
                if action == Action.STOP
                else other.service in needed.get(item.service, ())
            )
        ]
        after = {f"{action} {other.name}" for other in others}
        if action == Action.START:
            after |= _waits(item, application, listed, steps)
        key = f"{action} {item.name}"
        steps.append(Step(key, action, item.name, item.state, frozenset(after), item.service, item.number, item))
    if wait:
        for service in sorted({item.service for item in containers}):
            after = {step.key for step in steps if step.service == service and step.action == action}
            steps.append(Step(f"wait {service}", Action.WAIT, service, "", frozenset(after), service, condition=READY))
    return without_missing(steps)


def _waits(
    item: ExistingContainer, application: Application, listed: list[ExistingContainer], steps: list[Step]
) -> set[str]:
    """The waits for the conditions of a container's dependencies, which are added once."""
    result = set()
    declared = (application.services.get(item.service) or {}).get("depends_on") or {}
    for name, dependency in declared.items():
        started = {f"{Action.START} {other.name}" for other in listed if other.service == name}
        if dependency["condition"] == "service_started" or not started:
            continue
        key = f"wait {name} {dependency['condition']}"
        if all(step.key != key for step in steps):
            steps.append(
                Step(
                    key,
                    Action.WAIT,
                    name,
                    "other services wait for it",
                    frozenset(started),
                    name,
                    condition=str(dependency["condition"]),
                    required=bool(dependency.get("required", True)),
                )
            )
        result.add(key)
    return result


def restarted_services(application: Application, services: tuple[str, ...]) -> tuple[str, ...]:
    """Services with those that restart with them, as their ``depends_on`` says."""
    result = list(services)
    for name in result:  # grows while it is read
        result += [
            other
            for other, service in application.services.items()
            if ((service.get("depends_on") or {}).get(name) or {}).get("restart") and other not in result
        ]
    return tuple(result)
