"""All containers of this host: the one object that creates, runs, watches and removes them
(`agent.container.api.Containers`).

Law: the row on disk is written before what it says becomes true for anybody else; a container's start, end and
removal happen under its
lock; containers outlive this object, and `open` takes them over again (`agent.container.recovery`). One asyncio
loop, no threads but for
deleting big folders.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import logging
import re
import shutil
import signal as signals_of_host
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

from agent.container import health, processes, recovery, signals
from agent.container.api import ImageRootfs
from agent.container.events import EventBus, Subscription
from agent.container.execs import Execs
from agent.container.held import Held
from agent.container.model import (
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerState,
    ExecConfig,
    ExecState,
    Health,
    HealthStatus,
    LogEntry,
    MountKind,
    ProcessTable,
    Resources,
    Stats,
    Status,
)
from agent.container.nursery import Nursery
from agent.container.paths import Paths
from agent.container.prepare import Preparation
from agent.container.store import ContainerStore
from agent.logs import reader, rotation
from agent.runtime import cgroup, conmon, process, runc, spec, streams
from agent.runtime.inotify import IN_CLOSE_WRITE, IN_CREATE, IN_MODIFY, IN_MOVED_TO, Inotify, Watch
from agent.runtime.streams import AttachStream
from agent.volume.local import VolumeStore
from covey.errors import ConflictError, CoveyError, InvalidArgumentError, NotFoundError, UnavailableError

_log = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
_EXIT_FILE_SECONDS = 10.0
_KILL_SECONDS = 30.0
_ROTATION_SECONDS = 2.0
_PENDING_LIMIT = 64
LOST_EXIT_CODE = 137


class ContainerService:
    """Give it a state folder, a run folder on tmpfs, a cgroup parent and the image store's layers."""

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
        self.paths = Paths(state_dir, run_dir, cgroup_parent)
        self.volumes = VolumeStore(state_dir / "volumes")
        self._images = image_rootfs
        self._program = shutil.which(runtime) or runtime
        self.runtime = runc.Runtime(self._program, self.paths.runtime_root)
        self._monitor = conmon.Monitor(self._program, self.paths.runtime_root, self.paths.exits, conmon_program)
        self._held: dict[str, Held] = {}
        self._names: dict[str, str] = {}
        self._events = EventBus()
        self._nursery = Nursery()
        self._execs = Execs(self.paths, self._monitor, self._nursery, self._exec_document, self._exec_event)
        self.cgroups: cgroup.CgroupHost
        self._store: ContainerStore
        self._prepare: Preparation
        self._inotify: Inotify
        self._exit_watch: Watch
        self._open = False

    # -- life of the service

    async def open(self) -> None:
        """Adopt what runs, learn of exits that happened meanwhile, clean what is left over."""
        self.paths.make()
        self.cgroups = cgroup.detect()
        self._store = ContainerStore(self.paths.database)
        self._prepare = Preparation(self.paths, self.cgroups, self.volumes)
        await self._nursery.open()
        self._inotify = Inotify()
        self._exit_watch = self._inotify.watch(self.paths.exits, IN_MOVED_TO | IN_CLOSE_WRITE, self._exit_written)
        self._open = True
        rows = self._store.load()
        for row in rows:
            held = Held(row.container)
            self._held[row.container.id] = held
            self._names[row.container.name] = row.container.id
        verdicts = recovery.judge(rows, self.paths, self.runtime)
        for verdict in verdicts:
            self._take_over(self._held[verdict.container_id], verdict)
        await recovery.clean(self.paths, self.runtime, self.cgroups, self._held.keys(), recovery.alive(verdicts))
        self.volumes.clean()
        for held in list(self._held.values()):
            if held.config.auto_remove and not held.state.running and held.state.starts:
                await self.remove(held.config.id, volumes=True)
        self._nursery.spawn(self._rotate_logs(), "log rotation")

    async def close(self) -> None:
        """Let go of everything; containers go on."""
        if not self._open:
            return
        self._open = False
        await self._nursery.close()
        self._events.close()
        for held in self._held.values():
            self._unwatch(held)
            held.wake_readers()
        self._inotify.close()
        self._store.close()

    # -- look-ups

    def get(self, ref: str) -> Container:
        return self._find(ref).snapshot()

    def list(self) -> builtins.list[Container]:
        return [held.snapshot() for held in self._held.values()]

    def subscribe(self) -> AbstractContextManager[Subscription]:
        return self._events.subscribe()

    def log_path(self, ref: str) -> Path:
        return self.paths.log(self._find(ref).config.id)

    # -- creation and removal

    async def create(self, config: ContainerConfig) -> Container:
        """Record it and make its folder; nothing runs yet. Refuses at once what this host can never run."""
        if not _ID.fullmatch(config.id):
            raise InvalidArgumentError(f"container id {config.id!r} must be 64 hexadecimal digits")
        if not _NAME.fullmatch(config.name):
            raise InvalidArgumentError(
                f"Invalid container name ({config.name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            )
        if not config.args:
            raise InvalidArgumentError("no command specified: give one, or an image that has one")
        signals.number(config.stop_signal or "SIGTERM")
        cgroup.require(config.resources, self.cgroups)
        self._prepare.bounding(config)
        self._images.layers(config.image_id)
        if not config.created_at_ns:
            config = msgspec.structs.replace(config, created_at_ns=time.time_ns())
        config = self._with_volumes(config)
        held = Held(Container(config, ContainerState()))
        self._store.insert(held.snapshot())
        self._held[config.id] = held
        self._names[config.name] = config.id
        self.paths.folder(config.id).mkdir(mode=0o711, parents=True, exist_ok=True)
        self._emit(held, "create")
        return held.snapshot()

    async def reconfigure(self, ref: str, config: ContainerConfig) -> Container:
        held = self._find(ref)
        async with held.lock:
            if held.state.running or config.id != held.config.id:
                raise ConflictError(f"container {held.config.name} runs: stop it before it is changed")
            self._set_config(held, config)
        return held.snapshot()

    async def rename(self, ref: str, name: str) -> None:
        held = self._find(ref)
        name = name.removeprefix("/")
        if not _NAME.fullmatch(name):
            raise InvalidArgumentError(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
        old = held.config.name
        self._set_config(held, msgspec.structs.replace(held.config, name=name))
        self._emit(held, "rename", oldName=f"/{old}")

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        """Delete it with what it wrote. A running one is refused unless forced; then it is killed first."""
        held = self._find(ref)
        if held.state.running:
            if not force:
                raise ConflictError(
                    f'cannot remove container "{held.config.name}": container is running: '
                    "stop the container before removing or force remove"
                )
            await self._kill_and_wait(held)
        async with held.lock:
            if held.config.id not in self._held:
                return
            if held.state.running:
                raise ConflictError(f'cannot remove container "{held.config.name}": it was started again')
            await self._forget(held, volumes=volumes)

    async def _forget(self, held: Held, *, volumes: bool) -> None:
        container_id = held.config.id
        await self._clean_up(held)
        folder = self.paths.folder(container_id)
        doomed = folder.with_name(f".gone-{container_id}")
        if folder.exists():
            folder.rename(doomed)
        self._store.delete(container_id)
        del self._held[container_id]
        if self._names.get(held.config.name) == container_id:
            del self._names[held.config.name]
        self._execs.forget(container_id)
        self._emit(held, "destroy")
        code = held.state.exit_code
        Held.settle(held.ended, code)
        Held.settle(held.removed, code)
        held.wake_readers()
        for stream in held.pending:
            stream.opened(None)
        await asyncio.to_thread(shutil.rmtree, doomed, ignore_errors=True)
        if volumes:
            self._remove_anonymous_volumes(held.config)

    # -- running

    async def start(self, ref: str) -> Container:
        """Run it. One that runs already is left alone. CoveyError says why it could not; the state keeps that too."""
        held = self._find(ref)
        async with held.lock:
            if held.config.id not in self._held:
                raise NotFoundError(f"No such container: {ref}")
            if held.state.running:
                return held.snapshot()
            try:
                await self._start(held)
            except BaseException as error:
                await asyncio.shield(self._start_failed(held, error))
                if isinstance(error, conmon.RuntimeRefusedError):
                    message = f"failed to create task for container: {error.message}"
                    if error.exit_code in {126, 127}:
                        raise InvalidArgumentError(message) from error
                    raise conmon.RuntimeRefusedError(message) from error
                raise
        return held.snapshot()

    async def _start(self, held: Held) -> None:
        config = held.config
        self._store.save_state(config.id, held.state, starting=True)
        layers = self._images.layers(config.image_id)
        bundle = await self._prepare.make(config, layers)
        self.paths.exit_file(config.id).unlink(missing_ok=True)
        pid = await conmon.create(
            self._monitor,
            config.id,
            config.name,
            bundle,
            log_path=self.paths.log(config.id),
            log_max_bytes=rotation.monitor_limit(config.log_max_bytes),
            tty=config.tty,
            stdin=config.open_stdin,
            leave_stdin_open=config.open_stdin and not config.stdin_once,
        )
        held.pid_ticks = process.start_ticks(pid)
        started = ContainerState(
            status=Status.RUNNING,
            pid=pid,
            started_at_ns=time.time_ns(),
            finished_at_ns=held.state.finished_at_ns,
            starts=held.state.starts + 1,
            health=Health(HealthStatus.STARTING) if health.enabled(config.healthcheck) else Health(),
        )
        self._store.save_state(config.id, started, starting=True, pid_ticks=held.pid_ticks)
        pending, held.pending = held.pending, []
        for stream in pending:
            stream.opened(await streams.connect(bundle))
        await self.runtime.start(config.id)
        self._set_state(held, started)
        self._emit(held, "start")
        self._watch(held)

    async def _start_failed(self, held: Held, error: BaseException) -> None:
        await self._clean_up(held)
        code = error.exit_code if isinstance(error, conmon.RuntimeRefusedError) else 128
        message = error.message if isinstance(error, CoveyError) else f"{type(error).__name__}: {error}"
        self._set_state(held, msgspec.structs.replace(held.state, pid=0, exit_code=code, error=message))
        for stream in held.pending:
            stream.opened(None)
        held.pending.clear()

    async def stop(self, ref: str, timeout_seconds: float | None = None, signal: str = "") -> Container:
        held = self._find(ref)
        if not held.state.running:
            return held.snapshot()
        grace = held.config.stop_grace_seconds if timeout_seconds is None else timeout_seconds
        number = signals.number(signal or held.config.stop_signal or "SIGTERM")
        await self._signal(held, number)
        try:
            async with asyncio.timeout(grace if grace >= 0 else None):
                await self._ended(held)
        except TimeoutError:
            await self._kill_and_wait(held)
        self._emit(held, "stop")
        return held.snapshot()

    async def kill(self, ref: str, signal: str = "SIGKILL") -> None:
        held = self._find(ref)
        number = signals.number(signal or "SIGKILL")
        if not held.state.running:
            raise ConflictError(f"cannot kill container: {ref}: container {held.config.id} is not running")
        await self._signal(held, number)

    async def pause(self, ref: str) -> None:
        held = self._find(ref)
        async with held.lock:
            if held.state.status is not Status.RUNNING:
                raise ConflictError(
                    f"container {held.config.name} is {held.state.status}: only a running one is paused"
                )
            await self.runtime.pause(held.config.id)
            self._set_state(held, msgspec.structs.replace(held.state, status=Status.PAUSED))
            self._emit(held, "pause")

    async def unpause(self, ref: str) -> None:
        held = self._find(ref)
        async with held.lock:
            if held.state.status is not Status.PAUSED:
                raise ConflictError(f"container {held.config.name} is not paused")
            await self._resume(held)

    async def update(self, ref: str, resources: Resources) -> Container:
        """Change its limits, at once if it runs."""
        held = self._find(ref)
        cgroup.require(resources, self.cgroups)
        async with held.lock:
            config = msgspec.structs.replace(held.config, resources=resources)
            if held.state.running:
                await self.runtime.update(config.id, spec.limits(config, swap_limits=self.cgroups.swap))
            self._set_config(held, config)
            self._emit(held, "update")
        return held.snapshot()

    async def wait(self, ref: str, condition: str = "not-running") -> int:
        held = self._find(ref)
        if condition == "removed":
            return await self._wait_in(held.removed)
        if condition not in {"", "not-running", "next-exit"}:
            raise InvalidArgumentError(f'invalid condition: "{condition}": use not-running, next-exit or removed')
        if condition != "next-exit" and not held.state.running:
            return held.state.exit_code
        return await self._wait_in(held.ended)

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
    ) -> AsyncIterator[LogEntry]:
        held = self._find(ref)
        wanted = reader.Wanted(tail, since_ns, until_ns, stdout, stderr)
        if follow:
            return self._follow(held, wanted)
        return reader.read(self.paths.log(held.config.id), wanted)

    async def attach(self, ref: str) -> AttachStream:
        """Both directions of it; of one that does not run yet, they open with its start."""
        held = self._find(ref)
        stream = AttachStream(lambda: self._wait_in(held.ended) if held.state.running else self._code(held))
        if held.state.running:
            try:
                stream.opened(await streams.connect(self.paths.bundle(held.config.id)))
            except OSError:
                raise ConflictError(f"container {held.config.name} has just ended: start it again") from None
        elif len(held.pending) >= _PENDING_LIMIT:
            raise ConflictError(f"{_PENDING_LIMIT} clients wait for container {held.config.name} already: start it")
        else:
            held.pending.append(stream)
        self._emit(held, "attach")
        return stream

    async def resize(self, ref: str, height: int, width: int) -> None:
        held = self._running(ref)
        conmon.resize(self.paths.bundle(held.config.id), height, width)
        self._emit(held, "resize", height=str(height), width=str(width))

    async def exec_create(self, ref: str, config: ExecConfig) -> str:
        held = self._running(ref)
        if held.state.status is Status.PAUSED:
            raise ConflictError(f"container {held.config.name} is paused: unpause the container before exec")
        if not config.args:
            raise InvalidArgumentError("No exec command specified")
        exec_id = self._execs.create(held.config.id, config)
        self._emit(held, f"exec_create: {' '.join(config.args)}", execID=exec_id)
        return exec_id

    async def exec_start(
        self, exec_id: str, *, detach: bool = False, size: tuple[int, int] | None = None
    ) -> AttachStream | None:
        held = self._running(self._execs.inspect(exec_id).container_id)
        return await self._execs.start(exec_id, held.config, detach=detach, size=size)

    async def exec_resize(self, exec_id: str, height: int, width: int) -> None:
        self._execs.resize(exec_id, height, width)

    def exec_inspect(self, exec_id: str) -> ExecState:
        return self._execs.inspect(exec_id)

    def execs_of(self, ref: str) -> Sequence[str]:
        return self._execs.of(self._find(ref).config.id)

    async def top(self, ref: str) -> ProcessTable:
        held = self._running(ref)
        return processes.table(cgroup.processes(self.cgroups, self.paths.cgroup(held.config.id)))

    async def stats(self, ref: str) -> Stats:
        """One reading; all zero for a container that does not run."""
        held = self._find(ref)
        if not held.state.running:
            return Stats(read_ns=time.time_ns())
        return cgroup.read_stats(self.cgroups, self.paths.cgroup(held.config.id), time.time_ns())

    # -- the end of a container

    def _exit_written(self, name: str) -> None:
        held = self._held.get(name)
        if held is not None:
            self._nursery.spawn(self._end(held), f"end of {name[:12]}")

    def _process_gone(self, held: Held) -> None:
        asyncio.get_running_loop().remove_reader(held.pidfd)
        self._nursery.spawn(self._end_without_monitor(held, held.state.starts), f"end of {held.config.id[:12]}")

    async def _end_without_monitor(self, held: Held, starts: int) -> None:
        """The monitor writes the exit code right after the process ended. If it died as well, nobody will."""
        waiter: set[asyncio.Future[int]] = held.ended
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_FILE_SECONDS):
                if held.state.running:
                    await self._wait_in(waiter)
        await self._end(held, lost_start=starts)

    async def _end(self, held: Held, *, lost_start: int = 0) -> None:
        """Take note of the end; `lost_start` is the number of the start whose process is gone without a word."""
        async with held.lock:
            lost = held.state.starts == lost_start
            ending = recovery.read_exit(self.paths, held.config.id)
            if not held.state.running or (ending is None and not lost):
                return
            if ending is None:
                ending = recovery.Ending(LOST_EXIT_CODE, False, time.time_ns(), recovery.MONITOR_DIED)
            self._unwatch(held)
            self._finish(held, ending)
            await self._clean_up(held)
        if held.config.auto_remove and held.state.status is Status.EXITED:
            with contextlib.suppress(CoveyError):
                await self.remove(held.config.id, volumes=True)

    def _finish(self, held: Held, ending: recovery.Ending) -> None:
        """Record the end and tell everybody."""
        state = msgspec.structs.replace(
            held.state,
            status=Status.EXITED,
            pid=0,
            exit_code=ending.code,
            oom_killed=ending.oom_killed,
            error=ending.error,
            finished_at_ns=ending.time_ns,
        )
        self._set_state(held, state)
        self.paths.exit_file(held.config.id).unlink(missing_ok=True)
        if ending.oom_killed:
            self._emit(held, "oom")
        self._emit(held, "die", exitCode=str(ending.code))
        Held.settle(held.ended, ending.code)
        held.wake_readers()

    async def _clean_up(self, held: Held) -> None:
        """What a run leaves in the runtime, the cgroups and the mount table."""
        await self.runtime.delete(held.config.id)
        self._prepare.undo(held.config.id)
        cgroup.remove(self.cgroups, self.paths.cgroup(held.config.id))

    # -- parts

    def _take_over(self, held: Held, verdict: recovery.Verdict) -> None:
        if verdict.ending is not None:
            self._finish(held, verdict.ending)
        elif verdict.alive:
            held.pid_ticks = verdict.pid_ticks
            self._set_state(held, held.state)
            self._watch(held)
        else:
            self._set_state(
                held, msgspec.structs.replace(held.state, status=verdict.status, error=verdict.error, pid=0)
            )

    def _watch(self, held: Held) -> None:
        held.pidfd = process.open_pidfd(held.state.pid, held.pid_ticks) or -1
        if held.pidfd >= 0:
            asyncio.get_running_loop().add_reader(held.pidfd, self._process_gone, held)
        else:
            work = self._end_without_monitor(held, held.state.starts)
            self._nursery.spawn(work, f"end of {held.config.id[:12]}")
        self._exit_written(held.config.id)
        check = held.config.healthcheck
        if check is not None and health.enabled(check):
            work_of_health = health.watch(
                check,
                held.state.started_at_ns,
                lambda: held.state.health,
                lambda wanted, seconds: self._execs.probe(held.config, wanted, seconds),
                lambda now: self._set_health(held, now),
            )
            task = self._nursery.spawn(work_of_health, f"health of {held.config.id[:12]}")
            held.health_tasks = [task] if task is not None else []

    def _unwatch(self, held: Held) -> None:
        for task in held.health_tasks:
            task.cancel()
        held.health_tasks = []
        if held.pidfd >= 0:
            asyncio.get_running_loop().remove_reader(held.pidfd)
            process.close_pidfd(held.pidfd)
            held.pidfd = -1

    def _set_health(self, held: Held, now: Health) -> None:
        before = held.state.health.status
        if held.state.running:
            self._set_state(held, msgspec.structs.replace(held.state, health=now))
            if now.status is not before:
                self._emit(held, f"health_status: {now.status}")

    async def _signal(self, held: Held, number: int) -> None:
        if held.pidfd >= 0:
            process.send_signal(held.pidfd, number)
        self._emit(held, "kill", signal=str(number))
        if number == signals_of_host.SIGKILL:
            if held.config.host_pid:
                cgroup.kill_all(self.cgroups, self.paths.cgroup(held.config.id))
            if held.state.status is Status.PAUSED:
                async with held.lock:
                    await self._resume(held)

    async def _resume(self, held: Held) -> None:
        if held.state.status is Status.PAUSED:
            await self.runtime.resume(held.config.id)
            self._set_state(held, msgspec.structs.replace(held.state, status=Status.RUNNING))
            self._emit(held, "unpause")

    async def _kill_and_wait(self, held: Held) -> None:
        if not held.state.running:
            return
        await self._signal(held, signals_of_host.SIGKILL)
        try:
            async with asyncio.timeout(_KILL_SECONDS):
                await self._ended(held)
        except TimeoutError:
            raise UnavailableError(
                f"container {held.config.name} did not end within {_KILL_SECONDS:g} s of SIGKILL: "
                "look for processes in uninterruptible sleep"
            ) from None

    async def _ended(self, held: Held) -> int:
        return await self._wait_in(held.ended) if held.state.running else held.state.exit_code

    @staticmethod
    async def _code(held: Held) -> int:
        return held.state.exit_code

    @staticmethod
    async def _wait_in(waiters: set[asyncio.Future[int]]) -> int:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waiters.add(future)
        try:
            return await future
        finally:
            waiters.discard(future)

    async def _follow(self, held: Held, wanted: reader.Wanted) -> AsyncIterator[LogEntry]:
        changed = asyncio.Event()
        held.wakers.add(changed)
        path = self.paths.log(held.config.id)
        mask = IN_MODIFY | IN_CREATE | IN_MOVED_TO
        watch = self._inotify.watch(path.parent, mask, lambda name: changed.set() if name.endswith(".log") else None)

        def over() -> bool:
            return not self._open or not (held.state.running or held.state.status is Status.CREATED) or self._gone(held)

        try:
            async with contextlib.aclosing(reader.read(path, wanted, reader.Follow(changed, over))) as entries:
                async for entry in entries:
                    yield entry
        finally:
            watch.cancel()
            held.wakers.discard(changed)

    def _gone(self, held: Held) -> bool:
        return held.config.id not in self._held

    async def _rotate_logs(self) -> None:
        while True:
            await asyncio.sleep(_ROTATION_SECONDS)
            for held in list(self._held.values()):
                if held.state.running:
                    container_id, limit = held.config.id, held.config.log_max_bytes
                    rotation.rotate(self.paths.log(container_id), self.paths.bundle(container_id), limit)

    def _find(self, ref: str) -> Held:
        name = ref.removeprefix("/")
        held = self._held.get(name) or self._held.get(self._names.get(name, ""))
        if held is not None:
            return held
        matches = [h for i, h in self._held.items() if name and i.startswith(name)]
        if len(matches) > 1:
            raise InvalidArgumentError(f"Multiple IDs found with provided prefix: {ref}: give more of it")
        if not matches:
            raise NotFoundError(f"No such container: {ref}")
        return matches[0]

    def _running(self, ref: str) -> Held:
        held = self._find(ref)
        if not held.state.running:
            raise ConflictError(f"container {held.config.id} is not running")
        return held

    def _set_state(self, held: Held, state: ContainerState) -> None:
        self._store.save_state(held.config.id, state, pid_ticks=held.pid_ticks)
        held.state = state

    def _set_config(self, held: Held, config: ContainerConfig) -> None:
        self._store.save_config(config)
        self._names.pop(held.config.name, None)
        self._names[config.name] = config.id
        held.config = config

    def _emit(self, held: Held, action: str, **attributes: str) -> None:
        self._events.emit(ContainerEvent(time.time_ns(), action, held.config, attributes))

    def _exec_event(self, state: ExecState, action: str) -> None:
        held = self._held.get(state.container_id)
        if held is not None:
            code = {} if state.exit_code is None else {"exitCode": str(state.exit_code)}
            suffix = f": {' '.join(state.config.args)}" if action == "exec_start" else ""
            self._emit(held, action + suffix, execID=state.id, **code)

    def _exec_document(self, config: ContainerConfig, wanted: ExecConfig) -> dict[str, Any]:
        bounding = self._prepare.bounding(
            msgspec.structs.replace(config, privileged=True) if wanted.privileged else config
        )
        user = self._prepare.user(config, wanted.user or config.user)
        return spec.exec_process(config, wanted, user, bounding)

    def _with_volumes(self, config: ContainerConfig) -> ContainerConfig:
        """The configuration with each volume made and anonymous ones named."""
        mounts = []
        for mount in config.mounts:
            if mount.kind is MountKind.VOLUME:
                volume = self.volumes.create(mount.source, labels=mount.driver_labels, now_ns=config.created_at_ns)
                mounts.append(msgspec.structs.replace(mount, source=volume.name))
            else:
                mounts.append(mount)
        return msgspec.structs.replace(config, mounts=tuple(mounts))

    def volume_users(self, name: str) -> builtins.list[str]:
        """Ids of the containers that mount the volume."""
        return [
            held.config.id
            for held in self._held.values()
            if any(m.kind is MountKind.VOLUME and m.source == name for m in held.config.mounts)
        ]

    def remove_volume(self, name: str) -> None:
        """Delete a volume that no container uses."""
        users = self.volume_users(name)
        if users:
            raise ConflictError(f"remove {name}: volume is in use - [{', '.join(users)}]")
        self.volumes.remove(name)

    def _remove_anonymous_volumes(self, config: ContainerConfig) -> None:
        for mount in config.mounts:
            if mount.kind is MountKind.VOLUME:
                with contextlib.suppress(CoveyError):
                    if self.volumes.get(mount.source).anonymous:
                        self.remove_volume(mount.source)
