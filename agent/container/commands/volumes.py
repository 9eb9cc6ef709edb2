"""`docker volume rm` and the users of a volume: what concerns both volumes and containers."""

from __future__ import annotations

from collections.abc import Sequence

from agent.container.host import ContainerHost
from covey.errors import ConflictError


def volume_users(host: ContainerHost, name: str) -> Sequence[str]:
    """Ids of the containers that mount the volume."""
    return host.index.volume_users(name)


async def remove_volume(host: ContainerHost, name: str) -> None:
    """Delete a volume. Raises NotFoundError, or ConflictError with the ids of the containers that use it."""
    volume = host.volumes.get(name)
    users = host.index.volume_users(volume.name)
    if users:
        raise ConflictError(f"remove {name}: volume is in use - [{', '.join(users)}]")
    await host.volumes.remove(volume.name)
