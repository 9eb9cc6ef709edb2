"""Sources of a container's mounts on this host: bind sources, volumes, images, and paths below volumes and images.

Invariant: a subpath is resolved by the kernel below its volume or image, and bound where nobody can exchange it.
Called by `agent.container.bundle_mounts` for a start. `unmount_all` undoes what was mounted.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from agent.container.api import ImageRootfs
from agent.container.model import ContainerConfig, ContainerMount, MountKind
from agent.runtime import mounts, rootfs, rootfs_paths
from agent.volume.local import VolumeStore
from covey.errors import InvalidArgumentError

_SHARED = frozenset({"shared", "rshared"})
_SLAVE = frozenset({"slave", "rslave"})


class MountSources:
    """Finds and mounts the sources of one container's mounts below its directory."""

    def __init__(self, folder: Path, volumes: VolumeStore, images: ImageRootfs) -> None:
        self._folder = mounts_folder(folder)
        self._volumes = volumes
        self._images = images

    async def source(self, config: ContainerConfig, mount: ContainerMount, number: int) -> Path:
        """The host's path to bind. `number` tells the container's mounts apart."""
        if mount.kind is MountKind.VOLUME:
            path = await self._volumes.use(mount.source, config.id)
            self._volumes.emit("mount", mount.source, **_attributes(config, mount))
        elif mount.kind is MountKind.IMAGE:
            path = self._folder / f"image{number}"
            rootfs.mount_image(self._images.layers(mount.image_id or mount.source), path, self._folder / "empty")
        else:
            return bind_source(mount)
        return self._below(path, mount, number) if mount.subpath else path

    def _below(self, path: Path, mount: ContainerMount, number: int) -> Path:
        place = self._folder / f"subpath{number}"
        root = os.open(path, os.O_PATH | os.O_DIRECTORY)
        try:
            found = rootfs_paths.open_beneath(root, mount.subpath)
        except OSError as error:
            raise InvalidArgumentError(
                f"cannot access path {path}/{mount.subpath}: {(error.strerror or '').lower()}: "
                f"the subpath of {mount.source} at {mount.target} must exist below it, without links that lead out"
            ) from None
        finally:
            os.close(root)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if Path(f"/proc/self/fd/{found}").is_dir():
                place.mkdir(exist_ok=True)
            else:
                place.touch()
            mounts.mount(f"/proc/self/fd/{found}", str(place), "", mounts.MS_BIND | mounts.MS_REC)
        finally:
            os.close(found)
        return place


def _attributes(config: ContainerConfig, mount: ContainerMount) -> dict[str, str]:
    """Attributes of the event that a volume was mounted, as Docker has them."""
    return {
        "container": config.id,
        "destination": mount.target,
        "propagation": "",
        "read/write": "false" if mount.read_only else "true",
    }


def mounts_folder(folder: Path) -> Path:
    """Where image mounts and subpaths of a container are mounted."""
    return folder / "mounts"


def unmount_all(folder: Path) -> None:
    """Unmount what `MountSources` mounted for a container."""
    place = mounts_folder(folder)
    if not place.is_dir():
        return
    for target in mounts.mount_points_below(place):
        mounts.unmount(target)
    if not mounts.mount_points_below(place):  # never delete through a mount
        shutil.rmtree(place, ignore_errors=True)


def check_bind_source(mount: ContainerMount) -> None:
    """Raises InvalidArgumentError in Docker's words if a source that must exist does not."""
    if mount.kind is MountKind.BIND and not mount.create_source and not Path(mount.source).exists():
        raise InvalidArgumentError(
            f'invalid mount config for type "bind": bind source path does not exist: {mount.source}'
        )


def bind_source(mount: ContainerMount) -> Path:
    """The source of a bind, which is created if the user asked for that. Raises InvalidArgumentError."""
    source = Path(mount.source)
    if not source.is_absolute():
        raise InvalidArgumentError(
            f"invalid mount config for type \"bind\": invalid mount path: '{mount.source}' mount path must be absolute"
        )
    check_bind_source(mount)
    if not source.exists():
        try:
            source.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidArgumentError(
                f"error while creating mount source path '{source}': mkdir {source}: {(error.strerror or '').lower()}"
            ) from None
    _check_propagation(source, mount.propagation)
    return source


def _check_propagation(source: Path, propagation: str) -> None:
    if propagation not in _SHARED | _SLAVE:
        return
    point = mounts.mount_of(source.resolve(), mounts.list_mounts())
    peers = point.peers if point else ""
    shared, slave = "shared:" in peers, "master:" in peers
    if propagation in _SHARED and not shared:
        raise InvalidArgumentError(
            f"path {source} is mounted on {point.target if point else '/'} but it is not a shared mount"
        )
    if propagation in _SLAVE and not (shared or slave):
        raise InvalidArgumentError(
            f"path {source} is mounted on {point.target if point else '/'} but it is not a shared or slave mount"
        )
