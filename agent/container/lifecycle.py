"""Start, signals, stop and adoption of one container.

Invariant: a start holds the container's lock; signals do not take it. Invariant: a program that has begun to run is
never undone, even if the caller of the start is cancelled. Called by `agent.container.commands` and, for adoption, by
`ContainerService.open`. `agent.container.exit_watcher` handles the exit.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from agent.container import health, log_config, start_errors
from agent.container.api import ContainerNetworks, ImageRootfs
from agent.container.bundle import BundleBuilder
from agent.container.exit_watcher import ExitWatcher
from agent.container.index import ContainerIndex
from agent.container.log_shipping import LogShippers
from agent.container.model import Container, ContainerConfig, ContainerState, RunStatus
from agent.container.namespaces import plan_namespaces
from agent.container.network_setup import NetworkSetup
from agent.container.paths import ContainerPaths
from agent.container.record import ContainerRecord
from agent.container.recovery import RecoveryDecision
from agent.container.runtimes import ContainerRuntimes
from agent.logs import rotation
from agent.runtime import attach, cgroup, process
from agent.runtime.conmon import Conmon, LogFile
from covey.errors import ConflictError, NotFoundError, UnavailableError

_KILL_SECONDS = 30.0


class Lifecycle:
    """Starts and signals all containers of this host."""

    def __init__(
        self,
        *,
        paths: ContainerPaths,
        index: ContainerIndex,
        runtimes: ContainerRuntimes,
        conmon: Conmon,
        bundles: BundleBuilder,
        images: ImageRootfs,
        networks: ContainerNetworks,
        cgroups: cgroup.CgroupLayout,
        exits: ExitWatcher,
        shippers: LogShippers,
        begin_log: Callable[[ContainerRecord], Awaitable[None]],
    ) -> None:
        self._paths = paths
        self._index = index
        self._runtimes = runtimes
        self._conmon = conmon
        self._bundles = bundles
        self._images = images
        self.networks = NetworkSetup(paths, index, networks)
        self._cgroups = cgroups
        self._exits = exits
        self._shippers = shippers
        self._begin_log = begin_log

    async def start(self, record: ContainerRecord, *, by_policy: bool = False) -> None:
        """Start the container; does nothing if it runs. On failure the state keeps the error.

        A start `by_policy` counts as a restart; a user's start begins the count and the delays of restarts anew.
        """
        async with record.lock:
            if self._index.by_id(record.config.id) is None:
                raise NotFoundError(f"No such container: {record.config.id}")
            if record.removing:
                raise ConflictError(f"container is marked for removal and cannot be started: {record.config.name}")
            if record.state.running:
                return
            restart_count = record.state.restart_count + 1 if by_policy else 0
            if not by_policy:
                record.stop_requested, record.restart_delay_seconds = False, 0.0
            try:
                await self._start(record, restart_count)
            except BaseException as error:
                if record.state.running:  # the caller was cancelled after the program had begun to run
                    raise
                await asyncio.shield(self._undo_start(record, error))
                shown = start_errors.raised(error)
                if shown is error:
                    raise
                raise shown from error

    def adopt(self, record: ContainerRecord, decision: RecoveryDecision) -> None:
        """Take over a container that the previous daemon left running or starting."""
        if decision.exit_status is not None:
            self._exits.publish_exit(record, decision.exit_status)
        elif decision.alive:
            record.pid_ticks = decision.pid_ticks
            self._index.set_state(record, record.state)
            self._exits.watch(record)
        else:
            state = msgspec.structs.replace(record.state, status=decision.status, error=decision.error, pid=0)
            self._index.set_state(record, state)

    async def send_signal(self, record: ContainerRecord, number: int) -> None:
        """Signal process 1 of the container. SIGKILL also reaches a paused one."""
        if record.pidfd >= 0:
            process.send_signal(record.pidfd, number)
        self._index.emit(record, "kill", signal=str(number))
        if number == signal.SIGKILL:
            if record.config.pid_mode:  # without a pid namespace of its own the other processes outlive process 1
                cgroup.kill_all(self._cgroups, self._paths.cgroup(record.config.id, record.config.cgroup_parent))
            await self._resume_for_signal(record)

    def request_stop(self, record: ContainerRecord) -> None:
        """Make the next exit final, and record that a user wants the container stopped."""
        record.stop_requested = True
        self._index.set_state(record, msgspec.structs.replace(record.state, stopped_by_user=True))

    async def stop(self, record: ContainerRecord, number: int, grace_seconds: float) -> None:
        """Send the signal, then SIGKILL after the grace period (negative: never)."""
        self.request_stop(record)
        await self.send_signal(record, number)
        await self._resume_for_signal(record)
        try:
            async with asyncio.timeout(grace_seconds if grace_seconds >= 0 else None):
                await record.wait_for_exit()
        except TimeoutError:
            await self.kill_and_wait(record)
        self._index.emit(record, "stop")

    async def kill_and_wait(self, record: ContainerRecord) -> None:
        """Send SIGKILL and wait for the exit; does nothing if the container does not run."""
        if not record.state.running:
            return
        self.request_stop(record)
        await self.send_signal(record, signal.SIGKILL)
        try:
            async with asyncio.timeout(_KILL_SECONDS):
                await record.wait_for_exit()
        except TimeoutError:
            raise UnavailableError(
                f"container {record.config.name} did not end within {_KILL_SECONDS:g} s of SIGKILL: "
                "look for processes in uninterruptible sleep"
            ) from None

    async def resume_if_paused(self, record: ContainerRecord) -> None:
        """Thaw a paused container. The caller holds the lock."""
        if record.state.status is RunStatus.PAUSED:
            await self._runtimes.of(record.config.id).resume(record.config.id)
            self._index.set_state(record, msgspec.structs.replace(record.state, status=RunStatus.RUNNING))
            self._index.emit(record, "unpause")

    async def _resume_for_signal(self, record: ContainerRecord) -> None:
        """Thaw a paused container, so that it receives its signal."""
        if record.state.status is RunStatus.PAUSED:
            async with record.lock:
                await self.resume_if_paused(record)

    async def _start(self, record: ContainerRecord, restart_count: int) -> None:
        await self._shippers.check(record.config)
        record.pid_ticks = 0
        self._index.save_start(record, record.state)
        config = await self.networks.connect(record)
        joined = plan_namespaces(config, self._snapshot, self._cgroups.version)
        bundle = await self._bundles.build(config, self._images.layers(config.image_id), joined)
        self._paths.exit_file(config.id).unlink(missing_ok=True)
        pid = await self._conmon.create(
            config.id,
            config.name,
            bundle,
            runtime=self._runtimes.for_start(config),
            log=self._log_file(config),
            terminal=config.tty,
            stdin=config.open_stdin,
            leave_stdin_open=config.open_stdin and (config.tty or not config.stdin_once),  # as Docker: a terminal stays
        )
        record.pid_ticks = process.start_ticks(pid)
        await self._begin_log(record)
        started = ContainerState(
            status=RunStatus.RUNNING,
            pid=pid,
            started_at_ns=time.time_ns(),
            finished_at_ns=record.state.finished_at_ns,
            start_count=record.state.start_count + 1,
            restart_count=restart_count,
            health=health.initial_health(config.healthcheck),
        )
        self._index.save_start(record, started)
        pending, record.pending_attaches = record.pending_attaches, []
        for stream in pending:
            stream.set_socket(await attach.connect_attach(bundle))
        await _finish_despite_cancellation(self._run(record, started))

    def _log_file(self, config: ContainerConfig) -> LogFile | None:
        """The file that conmon writes; None if the log driver keeps nothing."""
        plan = log_config.plan(config)
        if not plan.keep:
            return None
        return LogFile(self._paths.log(config.id), rotation.conmon_log_limit(plan.max_bytes, plan.max_files))

    def _snapshot(self, ref: str) -> Container:
        return self._index.find(ref).snapshot()

    async def _run(self, record: ContainerRecord, started: ContainerState) -> None:
        await self._runtimes.of(record.config.id).start(record.config.id)  # from here on the user's program may run
        self._index.set_state(record, started)
        self._index.emit(record, "start")
        self.networks.update_links_to(record)
        self._shippers.ship(record)
        self._exits.watch(record)

    async def _undo_start(self, record: ContainerRecord, error: BaseException) -> None:
        never_ran = not record.pid_ticks or self._runtimes.of(record.config.id).is_created(record.config.id)
        await self._exits.clean_up(record)
        if never_ran and isinstance(error, asyncio.CancelledError):  # the caller gave up: keep the previous outcome
            code, message = record.state.exit_code, record.state.error
        else:
            code, message = start_errors.recorded(error)
        status = RunStatus.EXITED if record.state.status is RunStatus.RESTARTING else record.state.status
        state = msgspec.structs.replace(record.state, status=status, pid=0, exit_code=code, error=message)
        self._index.set_state(record, state)
        record.disconnect_pending_attaches()


async def _finish_despite_cancellation(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end even if the caller is cancelled; the cancellation is raised afterwards."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
