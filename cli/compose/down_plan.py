"""Plans ``down``: which containers, networks, volumes and images of a project to remove, in which order. Pure."""

from collections.abc import Iterable, Mapping

import msgspec

from cli.compose import labels
from cli.compose.model import Application, ExistingContainer, HostState
from cli.compose.plan import dependency_names, orphaned
from cli.compose.steps import Action, Plan, Step, without_missing


class DownOptions(msgspec.Struct, frozen=True):
    """What ``down`` was asked for. ``images`` is empty, ``all`` or ``local``."""

    services: tuple[str, ...] = ()
    remove_orphans: bool = False
    volumes: bool = False
    images: str = ""


def plan_down(application: Application, state: HostState, options: DownOptions) -> Plan:
    """The steps; a dependency stops after the services that need it."""
    orphans = {item.id for item in orphaned(application, state)} if application.services else set()
    containers = [
        item
        for item in state.containers
        if (not options.services or item.service in options.services)
        and (options.remove_orphans or item.id not in orphans)
    ]
    steps = container_steps(containers, dependencies_of(application, containers))
    notices: tuple[str, ...] = ()
    if orphans and not options.remove_orphans:
        listed = " ".join(item.name for item in state.containers if item.id in orphans)
        notices = (f"Found orphan containers ([{listed}]) for this project. Remove them with --remove-orphans.",)
    if not options.services:
        steps += _object_steps(application, state, options, frozenset(step.key for step in steps))
    return Plan(without_missing(steps), notices)


def dependencies_of(application: Application, containers: Iterable[ExistingContainer]) -> Mapping[str, tuple[str, ...]]:
    """The dependencies of the project, or those that the containers' labels tell."""
    known = {
        item.service: tuple(labels.parse_depends_on(item.labels.get(labels.DEPENDS_ON, ""))) for item in containers
    }
    return {**known, **dependency_names(application.services)}


def container_steps(containers: Iterable[ExistingContainer], needed: Mapping[str, tuple[str, ...]]) -> list[Step]:
    listed = list(containers)
    steps = []
    for item in listed:
        dependents = frozenset(
            f"stop {other.name}"
            for other in listed
            if item.service in needed.get(other.service, ()) and not other.one_off
        ) | frozenset(f"stop {other.name}" for other in listed if other.one_off and not item.one_off)
        stop = f"stop {item.name}"
        if item.running:
            steps.append(Step(stop, Action.STOP, item.name, "", dependents, item.service, item.number, item))
        steps.append(
            Step(
                f"remove {item.name}",
                Action.REMOVE,
                item.name,
                "",
                dependents | {stop},
                item.service,
                item.number,
                item,
            )
        )
    return steps


def _object_steps(
    application: Application, state: HostState, options: DownOptions, after: frozenset[str]
) -> list[Step]:
    """Networks always, volumes and images where asked. External ones stay."""
    kinds = [("network", Action.REMOVE_NETWORK, state.networks, application.networks)]
    if options.volumes:
        kinds.append(("volume", Action.REMOVE_VOLUME, state.volumes, application.volumes))
    steps = []
    for word, action, existing, declared in kinds:
        external = {item["name"] for item in declared.values() if item.get("external")}
        steps += [
            Step(f"remove {word} {item.name}", action, item.name, "", after)
            for item in existing.values()
            if item.labels.get(labels.PROJECT) == application.name and item.name not in external
        ]
    if options.images:
        steps += [
            Step(f"remove image {image}", Action.REMOVE_IMAGE, image, "", after)
            for image in _images(application, options.images)
            if image in state.images
        ]
    return steps


def _images(application: Application, which: str) -> list[str]:
    found = (
        labels.image_name(application.name, service, name)
        for name, service in application.services.items()
        if which == "all" or not service.get("image")
    )
    return list(dict.fromkeys(found))
