"""Mounts that a container takes over from others (`--volumes-from`). Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agent.container.model import ContainerConfig, ContainerMount, MountKind, MountOrigin


def inherited_mounts(source: ContainerConfig, mode: str) -> tuple[ContainerMount, ...]:
    """The binds and volumes of a container, as another one gets them. `mode` `ro` makes them read-only."""
    read_only = "ro" in mode.split(",")
    return tuple(
        msgspec.structs.replace(
            mount,
            read_only=mount.read_only or read_only,
            no_copy=True,
            origin=MountOrigin.VOLUMES_FROM,
            mode=mode or mount.mode,
        )
        for mount in source.mounts
        if mount.kind in {MountKind.BIND, MountKind.VOLUME}
    )


def with_inherited(config: ContainerConfig, inherited: Sequence[ContainerMount]) -> ContainerConfig:
    """The configuration with the inherited mounts. A mount that the user gave wins, one of a volume path gives way."""
    if not inherited:
        return config
    own = {mount.target for mount in config.mounts if mount.origin is not MountOrigin.VOLUME_PATH} | config.tmpfs.keys()
    taken = {mount.target: mount for mount in inherited if mount.target not in own}
    kept = [mount for mount in config.mounts if mount.target not in taken]
    return msgspec.structs.replace(config, mounts=(*taken.values(), *kept))
