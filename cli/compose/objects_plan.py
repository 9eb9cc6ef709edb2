"""Plans the networks and volumes of a project. Pure."""

from collections.abc import Iterable

from cli.compose import labels
from cli.compose.config_hash import network_hash, volume_hash
from cli.compose.model import Application, ExistingContainer, ExistingObject, HostState, Values
from cli.compose.steps import Action, Step
from covey.errors import NotFoundError

PREDEFINED = ("bridge", "host", "none")


def object_steps(
    application: Application, state: HostState, names: Iterable[str]
) -> tuple[list[Step], frozenset[str], list[str]]:
    """The steps for networks and volumes of services, the names of networks that are made anew, and notices.

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
    steps: list[Step] = []
    changed: set[str] = set()
    notices: list[str] = []
    for key in sorted(networks):
        network = application.networks[key]
        existing = state.networks.get(network["name"])
        if _must_create("network", key, network, existing):
            steps.append(Step(f"network {key}", Action.CREATE_NETWORK, network["name"], "new", service=key))
        elif existing is not None and not network.get("external"):
            notices += _foreign("network", application, existing)
            stored = existing.labels.get(labels.CONFIG_HASH)
            if stored and stored != network_hash(network):
                changed.add(existing.name)
                steps += _anew(key, existing, state.containers)
    for key in sorted(volumes):
        volume = application.volumes[key]
        existing = state.volumes.get(volume["name"])
        if _must_create("volume", key, volume, existing):
            steps.append(Step(f"volume {key}", Action.CREATE_VOLUME, volume["name"], "new", service=key))
        elif existing is not None and not volume.get("external"):
            notices += _foreign("volume", application, existing)
            stored = existing.labels.get(labels.CONFIG_HASH)
            if stored and stored != volume_hash(volume):
                notices.append(
                    f'Volume "{existing.name}" exists but does not match its configuration in the Compose file. It is used as it '
                    "is: remove it to have it made anew"
                )
    return steps, frozenset(changed), notices


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
