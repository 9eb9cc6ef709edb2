"""`docker inspect` and `docker ps`: snapshots of containers, and the path of a container's log."""

from __future__ import annotations

from pathlib import Path

from agent.container import log_config
from agent.container.host import ContainerHost
from agent.container.model import Container, ContainerFiles
from covey.errors import NotFoundError
from covey.log_driver import JSON_FILE


def get_container(host: ContainerHost, ref: str) -> Container:
    return host.index.find(ref).snapshot()


def list_containers(host: ContainerHost) -> list[Container]:
    """All containers, whether they run or not."""
    return [record.snapshot() for record in host.index.list()]


def container_files(host: ContainerHost, ref: str) -> ContainerFiles:
    """Paths of the container's files. Those of /etc are made by its first start."""
    config = host.index.find(ref).config
    folder = host.paths.folder(config.id)
    try:
        layers = host.images.layers(config.image_id)
    except NotFoundError:  # the image was removed by force
        layers = ()
    existing = {name: str(folder / name) for name in ("hosts", "hostname", "resolv.conf") if (folder / name).exists()}
    return ContainerFiles(
        log=str(log_path(host, config.id) or ""),
        resolv_conf=existing.get("resolv.conf", ""),
        hostname=existing.get("hostname", ""),
        hosts=existing.get("hosts", ""),
        lower=":".join(str(layer) for layer in reversed(layers)),
        upper=str(folder / "upper"),
        work=str(folder / "work"),
        merged=str(folder / "merged"),
    )


def log_path(host: ContainerHost, ref: str) -> Path | None:
    """The log's current file; None if the log driver keeps none for the user."""
    config = host.index.find(ref).config
    return host.paths.log(config.id) if log_config.driver(config) == JSON_FILE else None
