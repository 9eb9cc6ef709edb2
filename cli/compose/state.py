"""Reads what a host has of a project, over the Engine API."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cli.client import DaemonClient, DaemonError, path_segment
from cli.compose import labels
from cli.compose.model import ExistingContainer, ExistingObject, HostState

MAX_PARALLEL = 16
NOT_FOUND = 404


def read_state(daemon: DaemonClient, project: str, images: Iterable[str] = ()) -> HostState:
    """The containers of the project, all networks and volumes, and the ids of images by name."""
    names = list(dict.fromkeys(images))
    with ThreadPoolExecutor(MAX_PARALLEL) as pool:
        containers = pool.submit(read_containers, daemon, project)
        networks = pool.submit(daemon.get, "/networks")
        volumes = pool.submit(daemon.get, "/volumes")
        ids = [(name, pool.submit(image_id, daemon, name)) for name in names]
        return HostState(
            containers=containers.result(),
            networks=_by_name(networks.result(), project),
            volumes=_by_name(volumes.result().get("Volumes") or (), project),
            images={name: found for name, job in ids if (found := job.result())},
        )


def read_containers(daemon: DaemonClient, project: str, *, one_off: bool = True) -> tuple[ExistingContainer, ...]:
    """The project's containers, also stopped ones, by service and number."""
    query = {"all": True, "filters": labels.project_filter(project)}
    found = [existing_container(item) for item in daemon.get("/containers/json", query)]
    return tuple(
        sorted(
            (item for item in found if one_off or not item.one_off),
            key=lambda item: (item.service, item.number, item.name),
        )
    )


def existing_container(item: Mapping[str, Any]) -> ExistingContainer:
    known = item.get("Labels") or {}
    number = known.get(labels.NUMBER, "1")
    name = next((name.removeprefix("/") for name in item.get("Names") or () if name.count("/") == 1), item["Id"][:12])
    return ExistingContainer(
        id=item["Id"],
        name=name,
        service=known.get(labels.SERVICE, ""),
        number=int(number) if number.isdigit() else 1,
        state=item.get("State", ""),
        config_hash=known.get(labels.CONFIG_HASH, ""),
        image=known.get(labels.IMAGE) or item.get("ImageID", ""),
        one_off=known.get(labels.ONE_OFF) == "True",
        labels=known,
        networks=frozenset((item.get("NetworkSettings") or {}).get("Networks") or {}),
    )


def image_id(daemon: DaemonClient, name: str) -> str:
    """The id of an image; empty if the host does not have it."""
    try:
        return str(daemon.get(f"/images/{path_segment(name)}/json")["Id"])
    except DaemonError as error:
        if error.status != NOT_FOUND:
            raise
        return ""


def _by_name(items: Iterable[Mapping[str, Any]], project: str) -> dict[str, ExistingObject]:
    """Objects by name. Where several have the same name, that of the project goes first."""
    found: dict[str, ExistingObject] = {}
    for item in items:
        known = ExistingObject(item["Name"], str(item.get("Id") or item["Name"]), item.get("Labels") or {})
        if item["Name"] not in found or known.labels.get(labels.PROJECT) == project:
            found[item["Name"]] = known
    return found
