"""Events as Docker's JSON: of the containers and images of this host and of the cluster's objects; their filters."""

from collections.abc import Callable, Iterable
from typing import Any

from agent.container.model import CONNECT_NETWORK, DISCONNECT_NETWORK, ContainerEvent
from agent.local_network.model import NetworkEvent
from agent.volume.model import VolumeEvent
from covey.clock import SECOND
from covey.objects import HistoryEntry
from engine.translate.filters import Filters, match_labels

FILTERS = (
    "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret", "service",
    "task", "type", "volume",
)  # fmt: skip
_NETWORK_ACTIONS = {"start": "connect", "die": "disconnect"}
_DRIVERS = {"bridge": "bridge", "host": "host", "none": "null"}
CLUSTER_KINDS = frozenset({"node", "service", "network", "secret", "config", "stack", "cluster", "task"})
"""What the managers tell events of. Those of tasks and of the cluster, which Docker does not have, are sent to who asks for them."""


def message(
    kind: str, action: str, actor: str, attributes: dict[str, str], time_ns: int, *, scope: str = "local"
) -> dict[str, Any]:
    """One event. Events of containers and images also have the fields of API versions before 1.22, which old clients read."""
    result: dict[str, Any] = {
        "Type": kind,
        "Action": action,
        "Actor": {"ID": actor, "Attributes": attributes},
        "scope": scope,
        "time": time_ns // SECOND,
        "timeNano": time_ns,
    }
    if kind in ("container", "image"):
        result["status"] = action
        result |= {"id": actor} if actor else {}
    if kind == "container" and actor:
        result["from"] = attributes.get("image", "")
    return result


def from_container(event: ContainerEvent) -> dict[str, Any]:
    """The event of a container."""
    config = event.container
    attributes = {**config.labels, **event.attributes, "image": config.image, "name": config.name}
    return message("container", event.action, config.id, attributes, event.time_ns)


def from_volume(event: VolumeEvent) -> dict[str, Any]:
    """The event of a volume."""
    return message("volume", event.action, event.name, event.attributes, event.time_ns)


def from_network(event: NetworkEvent) -> dict[str, Any]:
    """The event of a network of this host."""
    return message("network", event.action, event.network_id, event.attributes, event.time_ns)


def of_container(item: ContainerEvent, network_id: Callable[[str], str]) -> list[dict[str, Any]]:
    """The event of a container, with those of its networks as Docker orders them: connected before its start, disconnected after its
    end. ``network_id`` is the id of a predefined network.
    """
    if item.action in {CONNECT_NETWORK, DISCONNECT_NETWORK}:  # `docker network`, while the container runs
        name, key = item.attributes["network"], item.attributes["network_id"] or network_id(item.attributes["network"])
        return [_of_network(item, item.action.partition("_")[0], name, key, item.attributes.get("driver", ""))]
    own, action = from_container(item), _NETWORK_ACTIONS.get(item.action)
    if action is None:
        return [own]
    networks = [
        _of_network(item, action, endpoint.name, endpoint.network_id or network_id(endpoint.name), endpoint.driver)
        for endpoint in item.container.networks
        if endpoint.name != "docker_gwbridge"
    ]
    return [*networks, own] if action == "connect" else [own, *networks]


def _of_network(item: ContainerEvent, action: str, name: str, network_id: str, driver: str) -> dict[str, Any]:
    attributes = {"container": item.container.id, "name": name, "type": driver or _DRIVERS.get(name, "overlay")}
    return message("network", action, network_id, attributes, item.time_ns)


def from_history(entry: HistoryEntry) -> dict[str, Any]:
    """The event of a change in the cluster. Beside Docker's attributes ``covey.by`` names who made it."""
    return message(entry.kind, entry.action, entry.object_id, dict(entry.attributes), entry.timestamp_ns, scope="swarm")


def matches(filters: Filters, event: dict[str, Any]) -> bool:
    """Whether an event passes the filters. The filter of a kind of object matches an id, a prefix of it, or a name."""
    kind, actor = event["Type"], event["Actor"]
    attributes = actor["Attributes"]
    for name, values in filters.items():
        if name == "type":
            passed = kind in values
        elif name == "event":
            passed = any(event["Action"] == item or event["Action"].startswith(f"{item}:") for item in values)
        elif name == "scope":
            passed = event["scope"] in values
        elif name == "label":
            passed = match_labels(values, attributes)
        elif name == "image":
            passed = _matches_image(values, kind, actor)
        else:
            passed = _matches_object(name, values, kind, actor)
        if not passed:
            return False
    return True


def _matches_object(name: str, values: Iterable[str], kind: str, actor: dict[str, Any]) -> bool:
    """Whether an event is of one of these objects; events of tasks are their service's and their node's too."""
    attributes = actor["Attributes"]
    if kind == "task" and name in attributes:
        return any(attributes[name].startswith(item) for item in values)
    return kind == name and any(
        given.startswith(item) for item in values for given in (attributes.get("name", ""), actor["ID"])
    )


def _matches_image(values: Iterable[str], kind: str, actor: dict[str, Any]) -> bool:
    """Whether the image of an event of an image or container has one of these ids or names, which need no tag."""
    name = actor["Attributes"].get("name" if kind == "image" else "image", "")
    names = {actor["ID"], name, without_tag(actor["ID"]), without_tag(name)} - {""}
    return kind in ("image", "container") and any(item in names for item in values)


def without_tag(name: str) -> str:
    """An image name without its tag; a registry's port is no tag."""
    base, _, tag = name.rpartition(":")
    return base if base and "/" not in tag else name
