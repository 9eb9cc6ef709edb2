"""Plans the networks and volumes of a project. Pure."""

from collections.abc import Iterable

import msgspec

from cli.compose import labels
from cli.compose.config_hash import network_hash, volume_hash
from cli.compose.model import Application, ExistingContainer, ExistingObject, HostState, Values
from cli.compose.steps import Action, Step
from covey.errors import NotFoundError

PREDEFINED = ("bridge", "host", "none")


class ObjectPlan(msgspec.Struct):
    """The steps for networks and volumes.

    Attributes:
        steps: the steps.
        changed_networks: the names of networks that are made anew.
        removed_containers: the ids of containers that go with a volume.
        notices: what the user should know.
    """

    steps: list[Step] = msgspec.field(default_factory=list)
    changed_networks: set[str] = msgspec.field(default_factory=set)
    removed_containers: set[str] = msgspec.field(default_factory=set)
    notices: list[str] = msgspec.field(default_factory=list)


def plan_objects(
    application: Application, state: HostState, names: Iterable[str], *, recreate_volumes: bool = False
) -> ObjectPlan:
    """The plan for the networks and volumes of services; ``recreate_volumes`` makes changed volumes anew, without their data.

    Raises:
        NotFoundError: an external network or volume is missing.
    """
    services = [application.services[name] for name in names]
    networks = {key for service in services for key in service.get("networks") or ()}
    volumes = {
        item["source"]
        for service in services
        for item in service.get("volumes") or ()
        if item["type"] == "volume" and item.get("source")
    }
    if application.all_resources:
        networks, volumes = set(application.networks), set(application.volumes)
    plan = ObjectPlan()
    for key in sorted(networks):
        network = application.networks[key]
        existing = state.networks.get(network["name"])
        if _must_create("network", key, network, existing):
            plan.steps.append(Step(f"network {key}", Action.CREATE_NETWORK, network["name"], "new", service=key))
        elif existing is not None and not network.get("external"):
            plan.notices += _foreign("network", application, existing)
            stored = existing.labels.get(labels.CONFIG_HASH)
            if stored and stored != network_hash(network):
                plan.changed_networks.add(existing.name)
                plan.steps += _anew(key, existing, state.containers)
    for key in sorted(volumes):
        volume = application.volumes[key]
        existing = state.volumes.get(volume["name"])
        if _must_create("volume", key, volume, existing):
            plan.steps.append(Step(f"volume {key}", Action.CREATE_VOLUME, volume["name"], "new", service=key))
        elif existing is not None and not volume.get("external"):
            plan.notices += _foreign("volume", application, existing)
            stored = existing.labels.get(labels.CONFIG_HASH)
            if stored and stored != volume_hash(volume):
                if recreate_volumes:
                    _renew_volume(plan, key, existing, _users(application, state, key))
                else:
                    plan.notices.append(
                        f'Volume "{existing.name}" exists but does not match its configuration in the Compose file. It is used '
                        "as it is: use --yes to have it made anew without its data"
                    )
    return plan


def _users(application: Application, state: HostState, key: str) -> list[ExistingContainer]:
    """The containers of services that mount a volume."""
    mounting = {
        name
        for name, service in application.services.items()
        if any(item["type"] == "volume" and item.get("source") == key for item in service.get("volumes") or ())
    }
    return [item for item in state.containers if item.service in mounting]


def _renew_volume(plan: ObjectPlan, key: str, existing: ExistingObject, users: Iterable[ExistingContainer]) -> None:
    """Remove a changed volume with the containers that use it, and make it again."""
    reason, removals = f"volume {existing.name} changed", set()
    for item in users:
        if item.id in plan.removed_containers:
            removals.add(f"remove {item.name}")
            continue
        plan.removed_containers.add(item.id)
        plan.steps += removal_steps((item,), reason)
        removals.add(f"remove {item.name}")
    gone = f"remove volume {key}"
    plan.steps.append(Step(gone, Action.REMOVE_VOLUME, existing.name, reason, frozenset(removals), key))
    plan.steps.append(Step(f"volume {key}", Action.CREATE_VOLUME, existing.name, reason, frozenset({gone}), key))


def _must_create(kind: str, key: str, described: Values, existing: ExistingObject | None) -> bool:
    if not described.get("external"):
        return existing is None
    if existing is None and described["name"] not in PREDEFINED:
        raise NotFoundError(
            f"{kind} {described['name']} declared as external, but could not be found: create it, or remove {kind}s.{key}.external"
        )
    return False


def _foreign(kind: str, application: Application, existing: ExistingObject) -> list[str]:
    """A notice about an object that the project did not make."""
    owner = existing.labels.get(labels.PROJECT)
    if owner == application.name:
        return []
    made = (
        f'was created for project "{owner}" (expected "{application.name}")' if owner else "was not created by Compose"
    )
    return [f'{kind} "{existing.name}" already exists but {made}. Use `external: true` to use an existing {kind}']


def _anew(key: str, existing: ExistingObject, containers: Iterable[ExistingContainer]) -> list[Step]:
    """Disconnect a changed network's containers by stopping and removing them, and make it again."""
    reason = f"network {existing.name} changed"
    steps = []
    removed = set()
    for item in containers:
        if existing.name not in item.networks:
            continue
        stop = f"leave {existing.name} {item.name}"
        steps.append(Step(stop, Action.STOP, item.name, reason, frozenset(), item.service, item.number, item))
        removed.add(stop)
    gone = f"remove network {key}"
    steps.append(Step(gone, Action.REMOVE_NETWORK, existing.name, reason, frozenset(removed), key))
    steps.append(Step(f"network {key}", Action.CREATE_NETWORK, existing.name, reason, frozenset({gone}), key))
    return steps


def removal_steps(containers: Iterable[ExistingContainer], reason: str) -> list[Step]:
    """Stop and remove containers."""
    steps = []
    for item in containers:
        stop = f"stop {item.name}"
        if item.running:
            steps.append(Step(stop, Action.STOP, item.name, reason, frozenset(), item.service, item.number, item))
        steps.append(
            Step(
                f"remove {item.name}",
                Action.REMOVE,
                item.name,
                reason,
                frozenset({stop}),
                item.service,
                item.number,
                item,
            )
        )
    return steps
