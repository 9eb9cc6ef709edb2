"""Volumes and mounts of a new container: inherited mounts, checks, creation, and the image's files for empty volumes.

Invariant: what is refused has created nothing, and what was interrupted is undone, at once or by the next daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from agent.container import mount_sources
from agent.container.host import ContainerHost
from agent.container.inherited_mounts import inherited_mounts, with_inherited
from agent.container.model import ContainerConfig, ContainerMount, MountKind
from agent.runtime import process, rootfs, rootfs_paths
from agent.volume.pending import PendingCreation
from covey.errors import CoveyError, InvalidArgumentError, NotFoundError, UnavailableError

_COPY_SECONDS = 600.0

_replace = msgspec.structs.replace


@asynccontextmanager
async def new_volumes(host: ContainerHost, config: ContainerConfig) -> AsyncIterator[ContainerConfig]:
    """The configuration with every volume created and named. If the block fails, they are removed again."""
    config = _resolved(host, config)
    wanted = [mount for mount in config.mounts if mount.kind is MountKind.VOLUME]
    missing = tuple(dict.fromkeys(mount.source for mount in wanted if not host.volumes.exists(mount.source)))
    if not wanted:
        yield config
        return
    pending = PendingCreation(created=missing)
    host.volumes.pending.write(config.id, pending)
    try:
        _create(host, config, wanted)
        pending = await _fill_empty_volumes(host, config, pending)
        yield config
    except BaseException:
        await asyncio.shield(_undo(host, pending))
        raise
    finally:
        host.volumes.pending.forget(config.id)


async def recover_volumes(host: ContainerHost, running_ids: Collection[str]) -> None:
    """Adopt the volumes of running containers, undo interrupted creations, and unmount what nobody uses."""
    for record in host.index.list():
        if record.config.id in running_ids:
            names = [mount.source for mount in record.config.mounts if mount.kind is MountKind.VOLUME]
            host.volumes.adopt(record.config.id, names)
    host.volumes.remove_leftovers()
    for pending in host.volumes.pending.interrupted(host.index.ids()):
        await _undo(host, pending)
    host.volumes.pending.clear()


def _resolved(host: ContainerHost, config: ContainerConfig) -> ContainerConfig:
    """The configuration with inherited mounts, names for anonymous volumes and ids of images. Checks everything."""
    sources = []
    for text in config.volumes_from:
        ref, _, mode = text.partition(":")
        try:
            sources.append((host.index.find(ref).config, mode))
        except NotFoundError as error:  # not found would make clients pull the image
            raise InvalidArgumentError(error.message) from None
    config = with_inherited(config, [mount for source, mode in sources for mount in inherited_mounts(source, mode)])
    return _replace(config, mounts=tuple(_resolved_mount(host, config, mount) for mount in config.mounts))


def _resolved_mount(host: ContainerHost, config: ContainerConfig, mount: ContainerMount) -> ContainerMount:
    mount_sources.check_bind_source(mount)
    if mount.kind is MountKind.IMAGE and not mount.image_id:
        return _replace(mount, image_id=host.images.id_of(mount.source))
    if mount.kind is not MountKind.VOLUME:
        return mount
    name = mount.source or secrets.token_hex(32)
    host.volumes.check(name, mount.driver_options)
    return _replace(
        mount, source=name, anonymous=mount.anonymous or not mount.source, driver=mount.driver or config.volume_driver
    )


def _create(host: ContainerHost, config: ContainerConfig, wanted: list[ContainerMount]) -> None:
    for mount in wanted:
        host.volumes.create(
            mount.source,
            driver=mount.driver,
            labels=mount.driver_labels,
            options=mount.driver_options,
            anonymous=mount.anonymous,
            now_ns=config.created_at_ns,
        )


async def _fill_empty_volumes(
    host: ContainerHost, config: ContainerConfig, pending: PendingCreation
) -> PendingCreation:
    """Copy the image's files into volumes that are empty, as they are with their first container."""
    user = f"create {config.id}"
    try:
        empty = []
        for mount in config.mounts:
            copies = mount.kind is MountKind.VOLUME and not mount.no_copy and not mount.subpath
            if copies and not any((await host.volumes.use(mount.source, user)).iterdir()):
                empty.append(mount)
        if not empty:
            return pending
        pending = _replace(pending, filled=tuple(mount.source for mount in empty))
        host.volumes.pending.write(config.id, pending)
        folder = host.paths.folder(config.id)
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        root = rootfs.mount_overlay(host.images.layers(config.image_id), folder)
        try:
            for mount in empty:
                await _copy_from_image(root, mount.target, host.volumes.data_path(mount.source))
        finally:
            await asyncio.to_thread(rootfs.unmount, folder)
    except BaseException:
        await asyncio.to_thread(shutil.rmtree, host.paths.folder(config.id), ignore_errors=True)
        raise
    finally:
        await host.volumes.release(user)
    return pending


async def _copy_from_image(root: Path, target: str, destination: Path) -> None:
    """Copy a directory of the image with owners and modes, also those of the directory itself."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        fd = rootfs_paths.open_in_root(root_fd, target, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return  # the image has no directory there
    finally:
        os.close(root_fd)
    try:
        result = await process.run(
            ["cp", "-a", f"/proc/self/fd/{fd}/.", str(destination)], timeout_seconds=_COPY_SECONDS, pass_fds=(fd,)
        )
    finally:
        os.close(fd)
    if result.code != 0:
        raise UnavailableError(f"cannot fill the volume at {target} from the image: {result.error_message}")


async def _undo(host: ContainerHost, pending: PendingCreation) -> None:
    """Remove volumes that were created, and empty those that were filled."""
    for name in pending.created:
        if not host.index.volume_users(name):
            with contextlib.suppress(CoveyError):  # another container uses it already
                await host.volumes.remove(name)
    for name in pending.filled:
        if name not in pending.created and host.volumes.exists(name) and not host.index.volume_users(name):
            await asyncio.to_thread(_empty, host.volumes.data_path(name))


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
