"""All containers of this host: the one object that creates, runs, watches and removes them
(`agent.container.api.Containers`).

Law: the row on disk is written before what it says becomes true for anybody else; containers outlive this object,
and `open` takes them over
again (`agent.container.recovery`). One asyncio loop, no threads but for unmounting and deleting. Made by `agent.agent`
and tests.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import re
import shutil
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

from agent.background_tasks import BackgroundTasks
from agent.container import process_table, recovery, signals
from agent.container.api import ImageRootfs
from agent.container.bundle import BundleBuilder
from agent.container.events import EventBus, EventSubscription
from agent.container.execs import Execs
from agent.container.index import ContainerIndex
from agent.container.lifecycle import Lifecycle
from agent.container.model import (
    Container,
    ContainerConfig,
    ContainerStats,
    ExecConfig,
    ExecState,
    LogEntry,
    MountKind,
    ProcessTable,
    ResourceLimits,
    RunStatus,
)
from agent.container.paths import ContainerPaths
from agent.container.record import ContainerRecord
from agent.container.store import ContainerStore
from agent.logs import reader
from agent.runtime import attach, cgroup, conmon, oci_spec, runc
from agent.runtime.attach import AttachStream
from agent.runtime.inotify import IN_CLOSE_WRITE, IN_CREATE, IN_MODIFY, IN_MOVED_TO, Inotify
from agent.volume.local import VolumeStore
from covey.errors import ConflictError, CoveyError, InvalidArgumentError

_ID = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
_PENDING_LIMIT = 64


class ContainerService:
    """Give it the node's state folder, a run folder on tmpfs, a cgroup parent and the image store."""

    def __init__(
        self,
        state_dir: Path,
        run_dir: Path,
        cgroup_parent: str,
        image_rootfs: ImageRootfs,
        *,
        runtime: str = "runc",
        conmon_program: str = "conmon",
    ) -> None:
        self.paths = ContainerPaths(state_dir, run_dir, cgroup_parent)
        self.volumes = VolumeStore(state_dir / "volumes")
        program = shutil.which(runtime) or runtime
        self._runtime = runc.OciRuntime(program, self.paths.runtime_root)
        self._monitor = conmon.Conmon(program, self.paths.runtime_root, self.paths.exits, conmon_program)
        self._images = image_rootfs
        self._events = EventBus()
        self._nursery = BackgroundTasks("containers")
        self._is_open = False
        self._cgroups: cgroup.CgroupLayout
        self._prepare: BundleBuilder
        self._registry: ContainerIndex
        self._execs: Execs
        self._lifecycle: Lifecycle
        self._inotify: Inotify

    # -- life of the service

    async def open(self) -> None:
        """Adopt what runs, learn of exits that happened meanwhile, clean what is left over."""
        self.paths.create_directories()
        self._compose()
        await self._nursery.open()
        self._inotify = Inotify()
        self._inotify.watch(self.paths.exits, IN_MOVED_TO | IN_CLOSE_WRITE, self._lifecycle.on_exit_file)
        self._is_open = True
        verdicts = recovery.decide_recovery(self._registry.load(), self.paths, self._runtime)
        for verdict in verdicts:
            self._lifecycle.adopt(self._registry.find(verdict.container_id), verdict)
        alive = recovery.alive_ids(verdicts)
        await recovery.remove_leftovers(self.paths, self._runtime, self._cgroups, self._registry.ids(), alive)
        self.volumes.remove_leftovers()
        for held in self._registry.list():
            if held.config.auto_remove and held.state.status is RunStatus.EXITED:
                await self._auto_remove(held)
        self._nursery.spawn(self._lifecycle.rotate_logs(), "log rotation")

    def _compose(self) -> None:
        self._cgroups = cgroup.detect()
        self._registry = ContainerIndex(ContainerStore(self.paths.database), self._events)
        self._prepare = BundleBuilder(self.paths, self._cgroups, self.volumes)
        self._execs = Execs(self.paths, self._monitor, self._nursery, self._exec_document, self._registry.emit_exec)
        self._lifecycle = Lifecycle(
            paths=self.paths,
            registry=self._registry,
            runtime=self._runtime,
            monitor=self._monitor,
            prepare=self._prepare,
            images=self._images,
            cgroups=self._cgroups,
            nursery=self._nursery,
            execs=self._execs,
            auto_remove=self._auto_remove,
        )

    async def close(self) -> None:
        """Let go of everything; containers go on."""
        if not self._is_open:
            return
        self._is_open = False
        await self._nursery.close()
        self._events.close()
        for held in self._registry.list():
            self._lifecycle.unwatch(held)
        self._inotify.close()
        self._registry.close()

    # -- look-ups

    def get(self, ref: str) -> Container:
        return self._registry.find(ref).snapshot()

    def list(self) -> builtins.list[Container]:
        return [held.snapshot() for held in self._registry.list()]

    def subscribe(self) -> AbstractContextManager[EventSubscription]:
        return self._events.subscribe()

    def log_path(self, ref: str) -> Path:
        return self.paths.log(self._registry.find(ref).config.id)

    # -- creation and removal

    async def create(self, config: ContainerConfig) -> Container:
        """Record it and make its folder; nothing runs yet. Refuses at once what this host can never run."""
        self._check(config)
        self._images.layers(config.image_id)
        if not config.created_at_ns:
            config = msgspec.structs.replace(config, created_at_ns=time.time_ns())
        held = self._registry.add(self._create_volumes(config))
        self.paths.folder(config.id).mkdir(mode=0o711, parents=True, exist_ok=True)
        self._registry.emit(held, "create")
        return held.snapshot()

    def _check(self, config: ContainerConfig) -> None:
        if not _ID.fullmatch(config.id):
            raise InvalidArgumentError(f"container id {config.id!r} must be 64 hexadecimal digits")
        _check_name(config.name)
        if not config.args:
            raise InvalidArgumentError("no command specified: give one, or an image that has one")
        signals.parse_signal(config.stop_signal or "SIGTERM")
        cgroup.require_controllers(config.resources, self._cgroups)
        self._prepare.bounding(config)

    async def reconfigure(self, ref: str, config: ContainerConfig) -> Container:
        held = self._registry.find(ref)
        async with held.lock:
            if held.state.running or config.id != held.config.id:
                raise ConflictError(f"container {held.config.name} runs: stop it before it is changed")
            self._check(config)
            self._registry.set_config(held, config)
        return held.snapshot()

    async def rename(self, ref: str, name: str) -> None:
        held = self._registry.find(ref)
        name = name.removeprefix("/")
        _check_name(name)
        old = held.config.name
        self._registry.set_config(held, msgspec.structs.replace(held.config, name=name))
        self._registry.emit(held, "rename", oldName=f"/{old}")

    async def update(self, ref: str, resources: ResourceLimits) -> Container:
        """Change its limits, at once if it runs."""
        held = self._registry.find(ref)
        cgroup.require_controllers(resources, self._cgroups)
        async with held.lock:
            config = msgspec.structs.replace(held.config, resources=resources)
            if held.state.running:
                await self._runtime.update(config.id, oci_spec.resource_limits(config, swap_limits=self._cgroups.swap))
            self._registry.set_config(held, config)
            self._registry.emit(held, "update")
        return held.snapshot()

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        """Delete it with what it wrote. A running one is refused unless forced; then it is killed first."""
        held = self._registry.find(ref)
        if held.state.running and not force:
            raise ConflictError(
                f'cannot remove container "{held.config.name}": container is running: '
                "stop the container before removing or force remove"
            )
        await self._lifecycle.kill_and_wait(held)
        async with held.lock:
            if self._registry.by_id(held.config.id) is None:
                return
            if held.state.running:
                raise ConflictError(f'cannot remove container "{held.config.name}": it was started again')
            await self._delete(held)
        if volumes:
            self._remove_anonymous_volumes(held.config)

    async def _delete(self, held: ContainerRecord) -> None:
        container_id = held.config.id
        await self._lifecycle.clean_up(held)
        folder = self.paths.folder(container_id)
        doomed = folder.with_name(f".gone-{container_id}")
        if folder.exists():
            folder.rename(doomed)
        self._registry.remove(held)
        self._execs.remove_all(container_id)
        self._registry.emit(held, "destroy")
        for waiters in (held.exit_waiters, held.removal_waiters):
            held.resolve_waiters(waiters, held.state.exit_code)
        held.wake_log_readers()
        for stream in held.pending_attaches:
            stream.set_socket(None)
        await asyncio.to_thread(shutil.rmtree, doomed, ignore_errors=True)

    async def _auto_remove(self, held: ContainerRecord) -> None:
        with contextlib.suppress(CoveyError):  # somebody else removed or started it first
            await self.remove(held.config.id, volumes=True)

    # -- running

    async def start(self, ref: str) -> Container:
        """Run it. One that runs already is left alone. CoveyError says why it could not; the state keeps that too."""
        held = self._registry.find(ref)
        await self._lifecycle.start(held)
        return held.snapshot()

    async def stop(self, ref: str, timeout_seconds: float | None = None, signal: str = "") -> Container:
        held = self._registry.find(ref)
        if held.state.running:
            grace = held.config.stop_grace_seconds if timeout_seconds is None else timeout_seconds
            await self._lifecycle.stop(
                held, signals.parse_signal(signal or held.config.stop_signal or "SIGTERM"), grace
            )
        return held.snapshot()

    async def kill(self, ref: str, signal: str = "SIGKILL") -> None:
        held = self._registry.find(ref)
        number = signals.parse_signal(signal or "SIGKILL")
        if not held.state.running:
            raise ConflictError(f"cannot kill container: {ref}: container {held.config.id} is not running")
        await self._lifecycle.send_signal(held, number)

    async def pause(self, ref: str) -> None:
        held = self._registry.running(ref)
        async with held.lock:
            if held.state.status is not RunStatus.RUNNING:
                raise ConflictError(
                    f"container {held.config.name} is {held.state.status}: only a running one can pause"
                )
            await self._runtime.pause(held.config.id)
            self._registry.set_state(held, msgspec.structs.replace(held.state, status=RunStatus.PAUSED))
            self._registry.emit(held, "pause")

    async def unpause(self, ref: str) -> None:
        held = self._registry.find(ref)
        async with held.lock:
            if held.state.status is not RunStatus.PAUSED:
                raise ConflictError(f"container {held.config.name} is not paused")
            await self._lifecycle.resume_if_paused(held)

    async def wait(self, ref: str, condition: str = "not-running") -> int:
        held = self._registry.find(ref)
        if condition == "removed":
            return await held.wait_for(held.removal_waiters)
        if condition not in {"", "not-running", "next-exit"}:
            raise InvalidArgumentError(f'invalid condition: "{condition}": use not-running, next-exit or removed')
        if condition != "next-exit" and not held.state.running:
            return held.state.exit_code
        return await held.wait_for(held.exit_waiters)

    # -- input and output

    def logs(
        self,
        ref: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since_ns: int = 0,
        until_ns: int = 0,
        stdout: bool = True,
        stderr: bool = True,
    ) -> AsyncGenerator[LogEntry, None]:
        held = self._registry.find(ref)
        wanted = reader.LogFilter(tail, since_ns, until_ns, stdout, stderr)
        if follow:
            return self._follow(held, wanted)
        return reader.read(self.paths.log(held.config.id), wanted)

    async def attach(self, ref: str) -> AttachStream:
        """Both directions of it; of one that does not run yet, they open with its start."""
        held = self._registry.find(ref)

        async def code() -> int:
            return await held.wait_for(held.exit_waiters) if held.state.running else held.state.exit_code

        stream = AttachStream(code)
        if held.state.running:
            try:
                stream.set_socket(await attach.connect_attach(self.paths.bundle(held.config.id)))
            except OSError:
                raise ConflictError(f"container {held.config.name} has just ended: start it again") from None
        elif len(held.pending_attaches) >= _PENDING_LIMIT:
            raise ConflictError(f"{_PENDING_LIMIT} clients wait for container {held.config.name} already: start it")
        else:
            held.pending_attaches.append(stream)
        self._registry.emit(held, "attach")
        return stream

    async def resize(self, ref: str, height: int, width: int) -> None:
        held = self._registry.running(ref)
        conmon.resize(self.paths.bundle(held.config.id), height, width)
        self._registry.emit(held, "resize", height=str(height), width=str(width))

    async def exec_create(self, ref: str, config: ExecConfig) -> str:
        held = self._registry.running(ref)
        if held.state.status is RunStatus.PAUSED:
            raise ConflictError(f"container {held.config.name} is paused: unpause the container before exec")
        if not config.args:
            raise InvalidArgumentError("No exec command specified")
        exec_id = self._execs.create(held.config.id, config)
        self._registry.emit(held, f"exec_create: {' '.join(config.args)}", execID=exec_id)
        return exec_id

    async def exec_start(
        self, exec_id: str, *, detach: bool = False, size: tuple[int, int] | None = None
    ) -> AttachStream | None:
        held = self._registry.running(self._execs.inspect(exec_id).container_id)
        return await self._execs.start(exec_id, held.config, detach=detach, size=size)

    async def exec_resize(self, exec_id: str, height: int, width: int) -> None:
        self._execs.resize(exec_id, height, width)

    def exec_inspect(self, exec_id: str) -> ExecState:
        return self._execs.inspect(exec_id)

    def list_execs(self, ref: str) -> Sequence[str]:
        return self._execs.list_ids(self._registry.find(ref).config.id)

    async def top(self, ref: str) -> ProcessTable:
        held = self._registry.running(ref)
        return process_table.read_process_table(cgroup.processes(self._cgroups, self.paths.cgroup(held.config.id)))

    async def stats(self, ref: str) -> ContainerStats:
        """One reading; all zero for a container that does not run."""
        held = self._registry.find(ref)
        if not held.state.running:
            return ContainerStats(read_ns=time.time_ns())
        return cgroup.read_stats(self._cgroups, self.paths.cgroup(held.config.id), time.time_ns())

    async def _follow(self, held: ContainerRecord, wanted: reader.LogFilter) -> AsyncGenerator[LogEntry, None]:
        changed = asyncio.Event()
        path = self.paths.log(held.config.id)

        def touched(name: str) -> None:
            if name in {path.name, ""}:
                changed.set()

        def over() -> bool:
            waits = held.state.running or held.state.status is RunStatus.CREATED
            return not self._is_open or not waits or self._registry.by_id(held.config.id) is None

        held.log_wakeups.add(changed)
        watch = self._inotify.watch(path.parent, IN_MODIFY | IN_CREATE | IN_MOVED_TO, touched)
        try:
            async with contextlib.aclosing(reader.read(path, wanted, reader.FollowSignals(changed, over))) as entries:
                async for entry in entries:
                    yield entry
        finally:
            watch.cancel()
            held.log_wakeups.discard(changed)

    def _exec_document(self, config: ContainerConfig, wanted: ExecConfig) -> dict[str, Any]:
        rights = msgspec.structs.replace(config, privileged=True) if wanted.privileged else config
        user = self._prepare.resolve_user(config, wanted.user or config.user)
        return oci_spec.exec_process(config, wanted, user, self._prepare.bounding(rights))

    # -- volumes

    def volume_users(self, name: str) -> Sequence[str]:
        return self._registry.volume_users(name)

    def remove_volume(self, name: str) -> None:
        """Delete a volume that no container uses."""
        users = self._registry.volume_users(name)
        if users:
            raise ConflictError(f"remove {name}: volume is in use - [{', '.join(users)}]")
        self.volumes.remove(name)

    def _create_volumes(self, config: ContainerConfig) -> ContainerConfig:
        """The configuration with each volume made and anonymous ones named."""
        mounts = []
        for mount in config.mounts:
            if mount.kind is MountKind.VOLUME:
                volume = self.volumes.create(mount.source, labels=mount.driver_labels, now_ns=config.created_at_ns)
                mounts.append(msgspec.structs.replace(mount, source=volume.name))
            else:
                mounts.append(mount)
        return msgspec.structs.replace(config, mounts=tuple(mounts))

    def _remove_anonymous_volumes(self, config: ContainerConfig) -> None:
        for mount in config.mounts:
            if mount.kind is MountKind.VOLUME:
                with contextlib.suppress(CoveyError):  # shared with another container, or gone
                    if self.volumes.get(mount.source).is_anonymous:
                        self.remove_volume(mount.source)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidArgumentError(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
