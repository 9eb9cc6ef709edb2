"""`docker inspect` and `docker ps`: snapshots of containers, and the path of a container's log."""

from __future__ import annotations

from pathlib import Path

from agent.container.host import ContainerHost
from agent.container.model import Container


def get_container(host: ContainerHost, ref: str) -> Container:
    return host.index.find(ref).snapshot()


def list_containers(host: ContainerHost) -> list[Container]:
    """All containers, whether they run or not."""
    return [record.snapshot() for record in host.index.list()]


def log_path(host: ContainerHost, ref: str) -> Path:
    return host.paths.log(host.index.find(ref).config.id)
