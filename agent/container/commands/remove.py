"""`docker rm`, and the removal of containers with `--rm` after their exit."""

from __future__ import annotations

import asyncio
import contextlib
import shutil

import msgspec

from agent.container.host import ContainerHost
from agent.container.links import parse_link
from agent.container.model import ContainerConfig, MountKind, RunStatus
from agent.container.record import ContainerRecord
from covey.errors import ConflictError, CoveyError, NotFoundError


async def remove_container(host: ContainerHost, ref: str, *, force: bool = False, volumes: bool = False) -> None:
    """Delete the container with its writable layer and log, and with its anonymous volumes if `volumes` is set.

    A running container is refused unless `force` is set; then it is killed first. While it is being removed, it cannot be
    started, and another removal is refused.
    """
    record = host.index.find(ref)
    if record.removing:
        raise ConflictError(f"removal of container {ref} is already in progress")
    if record.state.active and not force:
        raise ConflictError(_refusal(record))
    record.removing = True
    try:
        await _end(host, record)
        await host.shippers.drain(record.config.id)
        async with record.lock:
            if host.index.by_id(record.config.id) is None:
                return
            await _remove(host, record, volumes=volumes)
    finally:
        record.removing = False


async def finish_removals(host: ContainerHost) -> None:
    """After a restart of the daemon: complete the removals that the previous one had begun."""
    for record in host.index.list():
        if record.state.status is RunStatus.REMOVING:
            async with record.lock:
                await _delete(host, record)


async def remove_link(host: ContainerHost, ref: str) -> None:
    """Remove the link `PARENT/ALIAS`; the linked container stays."""
    parent, slash, alias = ref.removeprefix("/").rpartition("/")
    if not slash:
        raise ConflictError("Conflict, cannot remove the default link name of the container")
    record = host.index.find(parent)
    kept = tuple(link for link in record.config.links if parse_link(link)[1] != alias)
    if kept == record.config.links:
        raise NotFoundError(f"container {record.config.name} has no link {alias}")
    host.index.set_config(record, msgspec.structs.replace(record.config, links=kept))


async def auto_remove(host: ContainerHost, record: ContainerRecord) -> None:
    """Remove an exited container that was created with `--rm`."""
    with contextlib.suppress(CoveyError):  # it was removed or started by someone else first
        await remove_container(host, record.config.id, volumes=True)


def _refusal(record: ContainerRecord) -> str:
    remedy = "stop the container before removing or force remove"
    how = f"container is {record.state.status}: {remedy}"
    if record.state.status is RunStatus.PAUSED:
        how = "container is paused and must be unpaused first"
    return f'cannot remove container "/{record.config.name}": {how}'


async def _end(host: ContainerHost, record: ContainerRecord) -> None:
    """Kill the container, and wait for a start that has begun to give way."""
    if record.state.active:
        host.lifecycle.request_stop(record)
        await host.restarts.cancel(record)
    await host.lifecycle.kill_and_wait(record)
    async with record.lock:  # a start that had begun before the removal has ended now
        pass
    await host.lifecycle.kill_and_wait(record)


async def _remove(host: ContainerHost, record: ContainerRecord, *, volumes: bool) -> None:
    """Record that the container is being removed, so that a crash cannot leave half of it, and delete it."""
    before = record.state
    host.index.set_state(record, msgspec.structs.replace(before, status=RunStatus.REMOVING, removes_volumes=volumes))
    try:
        await _delete(host, record)
    except BaseException:
        if host.index.by_id(record.config.id) is not None:
            host.index.set_state(record, before)
        raise


async def _delete(host: ContainerHost, record: ContainerRecord) -> None:
    """Delete what the container has, its row last. The caller holds the lock."""
    container_id = record.config.id
    await host.exits.clean_up(record)
    if record.state.removes_volumes:
        await _remove_anonymous_volumes(host, record.config)
    folder = host.paths.folder(container_id)
    removed = folder.with_name(f".gone-{container_id}")
    host.index.remove(record)
    if folder.exists():
        folder.rename(removed)
    host.execs.remove_all(container_id)
    host.index.emit(record, "destroy")
    record.exit_waiters.resolve(record.state.exit_code)
    record.removal_waiters.resolve(record.state.exit_code)
    record.wake_log_readers()
    record.disconnect_pending_attaches()
    await asyncio.to_thread(shutil.rmtree, removed, ignore_errors=True)


async def _remove_anonymous_volumes(host: ContainerHost, config: ContainerConfig) -> None:
    """Remove the volumes that were made for mounts without a source. One that a mount names stays, even if it has no name of its own."""
    for mount in config.mounts:
        if mount.kind is MountKind.VOLUME and mount.anonymous:
            with contextlib.suppress(CoveyError):  # it is gone
                if set(host.index.volume_users(mount.source)) <= {config.id}:
                    await host.volumes.remove(mount.source)
