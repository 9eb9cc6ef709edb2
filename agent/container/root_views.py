"""Access to the files of a container for one request: the root of a running one, or what a stopped one is mounted from.

Invariant: a stopped container cannot start meanwhile, because the view holds its lock.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.container.host import ContainerHost
from agent.container.model import ContainerConfig, MountKind
from agent.container.record import ContainerRecord
from agent.filesystem.protocol import FileRequest, StoppedView, ViewMount
from agent.runtime import process
from covey.errors import ConflictError, NotFoundError


@asynccontextmanager
async def file_request(host: ContainerHost, ref: str, action: str, path: str = "/") -> AsyncIterator[FileRequest]:
    """A request on the files that a program in the container would see, valid for the block."""
    record = host.index.find(ref)
    name = record.config.name
    root_fd = _open_running_root(record)
    if root_fd >= 0:
        try:
            yield FileRequest(action=action, container=name, path=path, root_fd=root_fd)
        finally:
            os.close(root_fd)
        return
    async with record.lock:
        _require_stopped(host, record)
        user = f"files {record.config.id}"
        try:
            view = _stopped_view(host, record.config, await _mounts(host, record.config, user))
            yield FileRequest(action=action, container=name, path=path, stopped=view)
        finally:
            await host.volumes.release(user)


@asynccontextmanager
async def root_filesystem_request(host: ContainerHost, ref: str, action: str) -> AsyncIterator[FileRequest]:
    """A request on the root file system alone, without volumes and other mounts."""
    record = host.index.find(ref)
    if record.state.running:
        root_fd = os.open(host.paths.folder(record.config.id) / "merged", os.O_PATH | os.O_DIRECTORY)
        try:
            yield FileRequest(action=action, container=record.config.name, root_fd=root_fd)
        finally:
            os.close(root_fd)
        return
    async with record.lock:
        _require_stopped(host, record)
        yield FileRequest(action=action, container=record.config.name, stopped=_stopped_view(host, record.config, ()))


def _open_running_root(record: ContainerRecord) -> int:
    """The root directory of the container's first process; -1 if it does not run."""
    if not record.state.running:
        return -1
    try:
        fd = os.open(f"/proc/{record.state.pid}/root", os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return -1
    if process.start_ticks(record.state.pid) != record.pid_ticks:
        os.close(fd)
        return -1
    return fd


def _require_stopped(host: ContainerHost, record: ContainerRecord) -> None:
    if host.index.by_id(record.config.id) is None:
        raise NotFoundError(f"No such container: {record.config.id}")
    if record.state.running:
        raise ConflictError(f"container {record.config.name} is starting or exiting: try again")


def _stopped_view(host: ContainerHost, config: ContainerConfig, mounts: tuple[ViewMount, ...]) -> StoppedView:
    return StoppedView(
        folder=str(host.paths.folder(config.id)),
        layers=tuple(str(layer) for layer in host.images.layers(config.image_id)),
        hidden_below=str(host.paths.folders),
        read_only=config.read_only,
        mounts=mounts,
    )


async def _mounts(host: ContainerHost, config: ContainerConfig, user: str) -> tuple[ViewMount, ...]:
    """The binds and volumes. What is missing is left out, so that the other files can be reached."""
    mounts = []
    for mount in config.mounts:
        if mount.kind is MountKind.VOLUME and host.volumes.exists(mount.source):
            source = await host.volumes.use(mount.source, user)
        elif mount.kind is MountKind.BIND and Path(mount.source).exists():
            source = Path(mount.source)
        else:
            continue
        mounts.append(ViewMount(str(source), mount.target, mount.read_only, mount.subpath))
    return tuple(mounts)
