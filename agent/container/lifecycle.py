"""How one container starts, is signalled and ends.

Law: starts and ends happen under the container's lock; signals do not take it. The end is learnt from the file that
the monitor writes; should
the monitor die too, from its pidfd. Whatever a run leaves in the runtime, the cgroups and the mount table goes with
its end. Called by
`ContainerService`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from agent.background_tasks import BackgroundTasks
from agent.container import health, recovery
from agent.container.api import ImageRootfs
from agent.container.bundle import BundleBuilder
from agent.container.execs import Execs
from agent.container.index import ContainerIndex
from agent.container.model import ContainerHealth, ContainerState, HealthStatus, RunStatus
from agent.container.paths import ContainerPaths
from agent.container.record import ContainerRecord
from agent.logs import rotation
from agent.runtime import attach, cgroup, conmon, process, runc
from covey.errors import CoveyError, InvalidArgumentError, NotFoundError, UnavailableError

_MONITOR_SECONDS = 30.0
_KILL_SECONDS = 30.0
_ROTATION_SECONDS = 2.0


class Lifecycle:
    def __init__(
        self,
        *,
        paths: ContainerPaths,
        registry: ContainerIndex,
        runtime: runc.OciRuntime,
        monitor: conmon.Conmon,
        prepare: BundleBuilder,
        images: ImageRootfs,
        cgroups: cgroup.CgroupLayout,
        nursery: BackgroundTasks,
        execs: Execs,
        auto_remove: Callable[[ContainerRecord], Awaitable[None]],
    ) -> None:
        self._paths = paths
        self._registry = registry
        self._runtime = runtime
        self._monitor = monitor
        self._prepare = prepare
        self._images = images
        self._cgroups = cgroups
        self._nursery = nursery
        self._execs = execs
        self._auto_remove = auto_remove

    # -- the start

    async def start(self, held: ContainerRecord) -> None:
        """Run it; one that runs already is left alone. The state keeps why it could not."""
        async with held.lock:
            if self._registry.by_id(held.config.id) is None:
                raise NotFoundError(f"No such container: {held.config.id}")
            if held.state.running:
                return
            try:
                await self._start(held)
            except BaseException as error:
                if held.state.running:  # it began although whoever asked has gone
                    raise
                await asyncio.shield(self._start_failed(held, error))
                if not isinstance(error, conmon.OciRuntimeError):
                    raise
                message = f"failed to create task for container: {error.message}"
                if error.exit_code in {126, 127}:
                    raise InvalidArgumentError(message) from error
                raise conmon.OciRuntimeError(message) from error

    async def _start(self, held: ContainerRecord) -> None:
        config = held.config
        self._registry.save_start(held, held.state)
        bundle = await self._prepare.build(config, self._images.layers(config.image_id))
        self._paths.exit_file(config.id).unlink(missing_ok=True)
        pid = await conmon.create(
            self._monitor,
            config.id,
            config.name,
            bundle,
            log_path=self._paths.log(config.id),
            log_max_bytes=rotation.conmon_log_limit(config.log_max_bytes),
            tty=config.tty,
            stdin=config.open_stdin,
            leave_stdin_open=config.open_stdin and not config.stdin_once,
        )
        held.pid_ticks = process.start_ticks(pid)
        started = ContainerState(
            status=RunStatus.RUNNING,
            pid=pid,
            started_at_ns=time.time_ns(),
            finished_at_ns=held.state.finished_at_ns,
            start_count=held.state.start_count + 1,
            health=ContainerHealth(HealthStatus.STARTING) if health.enabled(config.healthcheck) else ContainerHealth(),
        )
        self._registry.save_start(held, started)
        pending, held.pending_attaches = held.pending_attaches, []
        for stream in pending:
            stream.set_socket(await attach.connect_attach(bundle))
        await _finish_despite_cancellation(self._run(held, started))

    async def _run(self, held: ContainerRecord, started: ContainerState) -> None:
        """From here on the user's program may run."""
        await self._runtime.start(held.config.id)
        self._registry.set_state(held, started)
        self._registry.emit(held, "start")
        self._watch(held)

    async def _start_failed(self, held: ContainerRecord, error: BaseException) -> None:
        waits = not held.pid_ticks or self._runtime.is_created(held.config.id)
        await self.clean_up(held)
        if waits and isinstance(error, asyncio.CancelledError):  # whoever asked has gone, and nothing of it ever ran
            code, message = held.state.exit_code, held.state.error
        else:
            code, message = _start_error(error)
        self._registry.set_state(held, msgspec.structs.replace(held.state, pid=0, exit_code=code, error=message))
        for stream in held.pending_attaches:
            stream.set_socket(None)
        held.pending_attaches.clear()

    def adopt(self, held: ContainerRecord, verdict: recovery.RecoveryDecision) -> None:
        """What recovery found out about a container that the last daemon left running."""
        if verdict.container_exit is not None:
            self._publish_exit(held, verdict.container_exit)
        elif verdict.alive:
            held.pid_ticks = verdict.pid_ticks
            self._registry.set_state(held, held.state)
            self._watch(held)
        else:
            state = msgspec.structs.replace(held.state, status=verdict.status, error=verdict.error, pid=0)
            self._registry.set_state(held, state)

    # -- signals

    async def send_signal(self, held: ContainerRecord, number: int) -> None:
        """Signal its first process; KILL reaches a paused one too."""
        if held.pidfd >= 0:
            process.send_signal(held.pidfd, number)
        self._registry.emit(held, "kill", signal=str(number))
        if number == signal.SIGKILL:
            if held.config.host_pid:
                cgroup.kill_all(self._cgroups, self._paths.cgroup(held.config.id))
            if held.state.status is RunStatus.PAUSED:
                async with held.lock:
                    await self.resume_if_paused(held)

    async def stop(self, held: ContainerRecord, number: int, grace_seconds: float) -> None:
        """Ask it to end, and make it when the grace is over (negative: never)."""
        await self.send_signal(held, number)
        if held.state.status is RunStatus.PAUSED:
            async with held.lock:
                await self.resume_if_paused(held)
        try:
            async with asyncio.timeout(grace_seconds if grace_seconds >= 0 else None):
                await self._wait_for_exit(held)
        except TimeoutError:
            await self.kill_and_wait(held)
        self._registry.emit(held, "stop")

    async def kill_and_wait(self, held: ContainerRecord) -> None:
        if not held.state.running:
            return
        await self.send_signal(held, signal.SIGKILL)
        try:
            async with asyncio.timeout(_KILL_SECONDS):
                await self._wait_for_exit(held)
        except TimeoutError:
            raise UnavailableError(
                f"container {held.config.name} did not end within {_KILL_SECONDS:g} s of SIGKILL: "
                "look for processes in uninterruptible sleep"
            ) from None

    async def resume_if_paused(self, held: ContainerRecord) -> None:
        """Thaw it if it is paused; the caller holds the lock."""
        if held.state.status is RunStatus.PAUSED:
            await self._runtime.resume(held.config.id)
            self._registry.set_state(held, msgspec.structs.replace(held.state, status=RunStatus.RUNNING))
            self._registry.emit(held, "unpause")

    async def _wait_for_exit(self, held: ContainerRecord) -> int:
        return await held.wait_for(held.exit_waiters) if held.state.running else held.state.exit_code

    # -- the end

    def on_exit_file(self, container_id: str) -> None:
        """The monitor wrote an exit file (or may have)."""
        held = self._registry.by_id(container_id)
        if held is not None:
            self._nursery.spawn(self._record_exit(held), f"end of {container_id[:12]}")

    def _on_process_exit(self, held: ContainerRecord) -> None:
        asyncio.get_running_loop().remove_reader(held.pidfd)
        self._nursery.spawn(
            self._record_exit_after_monitor(held, held.state.start_count), f"end of {held.config.id[:12]}"
        )

    async def _record_exit_after_monitor(self, held: ContainerRecord, starts: int) -> None:
        """The monitor writes the exit code after the process ended, then ends. If it died without, nobody will
        write it.
        """
        pidfd = process.open_pidfd(recovery.monitor_pid(self._paths, held.config.id))
        if pidfd is not None:
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_MONITOR_SECONDS):
                        await process.wait_pidfd(pidfd)
            finally:
                process.close_pidfd(pidfd)
        await self._record_exit(held, lost_start=starts)

    async def _record_exit(self, held: ContainerRecord, *, lost_start: int = 0) -> None:
        """Take note of the end; `lost_start` is the number of the start whose process is gone without a word."""
        async with held.lock:
            lost = held.state.start_count == lost_start
            ending = recovery.read_exit_file(self._paths, held.config.id)
            if not held.state.running or (ending is None and not lost):
                return
            if ending is None:
                ending = recovery.ContainerExit(recovery.LOST_EXIT_CODE, False, time.time_ns(), recovery.MONITOR_DIED)
            self.unwatch(held)
            self._publish_exit(held, ending)
            await self.clean_up(held)
        if held.config.auto_remove and held.state.status is RunStatus.EXITED:
            await self._auto_remove(held)

    def _publish_exit(self, held: ContainerRecord, ending: recovery.ContainerExit) -> None:
        """Record the end and tell everybody."""
        self._registry.set_state(held, recovery.exited_state(held.state, ending))
        self._paths.exit_file(held.config.id).unlink(missing_ok=True)
        if ending.oom_killed:
            self._registry.emit(held, "oom")
        self._registry.emit(held, "die", exitCode=str(ending.code))
        held.resolve_waiters(held.exit_waiters, ending.code)
        held.wake_log_readers()

    async def clean_up(self, held: ContainerRecord) -> None:
        """What a run leaves in the runtime, the cgroups and the mount table; the caller holds the lock."""
        await self._runtime.delete(held.config.id)
        await asyncio.to_thread(self._prepare.tear_down, held.config.id)  # unmounting can wait for the disk
        cgroup.remove(self._cgroups, self._paths.cgroup(held.config.id))

    # -- watching

    def _watch(self, held: ContainerRecord) -> None:
        container_id = held.config.id
        pidfd = process.open_pidfd(held.state.pid, held.pid_ticks)
        if pidfd is None:
            self._nursery.spawn(
                self._record_exit_after_monitor(held, held.state.start_count), f"end of {container_id[:12]}"
            )
        else:
            held.pidfd = pidfd
            asyncio.get_running_loop().add_reader(pidfd, self._on_process_exit, held)
        check = held.config.healthcheck
        if check is not None and health.enabled(check):
            work = health.run_health_checks(
                check,
                held.state.started_at_ns,
                lambda: held.state.health,
                lambda wanted, seconds: self._execs.probe(held.config, wanted, seconds),
                lambda now: self._set_health(held, now),
            )
            task = self._nursery.spawn(work, f"health of {container_id[:12]}")
            held.health_tasks = [task] if task is not None else []

    def unwatch(self, held: ContainerRecord) -> None:
        for task in held.health_tasks:
            task.cancel()
        held.health_tasks = []
        if held.pidfd >= 0:
            asyncio.get_running_loop().remove_reader(held.pidfd)
            process.close_pidfd(held.pidfd)
            held.pidfd = -1

    def _set_health(self, held: ContainerRecord, now: ContainerHealth) -> None:
        before = held.state.health.status
        if held.state.running:
            self._registry.set_state(held, msgspec.structs.replace(held.state, health=now))
            if now.status is not before:
                self._registry.emit(held, f"health_status: {now.status}")

    async def rotate_logs(self) -> None:
        """Keep the logs of running containers within their bounds, for as long as the service is open."""
        while True:
            await asyncio.sleep(_ROTATION_SECONDS)
            for held in self._registry.list():
                if held.state.running:
                    container_id, limit = held.config.id, held.config.log_max_bytes
                    rotation.rotate(self._paths.log(container_id), self._paths.bundle(container_id), limit)


async def _finish_despite_cancellation(work: Coroutine[Any, Any, None]) -> None:
    """Cancelled, it is done all the same before the caller learns of it: a program that has begun to run is not undone."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _start_error(error: BaseException) -> tuple[int, str]:
    """Exit code and message of a container that could not start."""
    code = error.exit_code if isinstance(error, conmon.OciRuntimeError) else 128
    if isinstance(error, asyncio.CancelledError):
        return code, "its start was cut short"
    return code, error.message if isinstance(error, CoveyError) else f"{type(error).__name__}: {error}"
