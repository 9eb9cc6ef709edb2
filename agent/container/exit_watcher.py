"""Detection of container exits: conmon's exit file, or the process's pidfd if conmon died too.

Invariant: an exit is recorded once, under the container's lock, before waiters and events learn of it. Invariant: who
learns of it finds the container's addresses and published ports free. Everything that a run leaves in the runtime, the
cgroups and the mount table is removed with it. Called by `agent.container.lifecycle` and by the inotify watch on the exit
directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec

from agent.background_tasks import BackgroundTasks
from agent.container import exit_status, restart_policy
from agent.container.api import ContainerNetworks
from agent.container.bundle import BundleBuilder
from agent.container.exit_status import ExitStatus
from agent.container.health_monitor import HealthMonitor
from agent.container.index import ContainerIndex
from agent.container.model import HOST_NETWORK, RunStatus
from agent.container.paths import ContainerPaths
from agent.container.record import ContainerRecord
from agent.container.runtimes import ContainerRuntimes
from agent.runtime import cgroup, process
from covey.errors import CoveyError
from covey.pidfd import wait_pidfd

_log = logging.getLogger(__name__)
_CONMON_EXIT_SECONDS = 30.0
_RELEASE_SECONDS = 2.0
_SECOND_NS = 1_000_000_000


class ExitWatcher:
    """Watches all running containers of this host.

    `restart` is called with a delay for a container that its policy starts again, `auto_remove` for one that asked for it.
    """

    def __init__(
        self,
        *,
        paths: ContainerPaths,
        index: ContainerIndex,
        runtimes: ContainerRuntimes,
        bundles: BundleBuilder,
        cgroups: cgroup.CgroupLayout,
        networks: ContainerNetworks,
        health: HealthMonitor,
        tasks: BackgroundTasks,
        restart: Callable[[ContainerRecord, float], None],
        auto_remove: Callable[[ContainerRecord], Awaitable[None]],
        forget_execs: Callable[[str], None],
        end_log: Callable[[ContainerRecord], Awaitable[None]],
    ) -> None:
        self._paths = paths
        self._index = index
        self._runtimes = runtimes
        self._bundles = bundles
        self._cgroups = cgroups
        self._networks = networks
        self._health = health
        self._tasks = tasks
        self._restart = restart
        self._auto_remove = auto_remove
        self._forget_execs = forget_execs
        self._end_log = end_log

    def watch(self, record: ContainerRecord) -> None:
        """Begin to watch the process of a running container and to probe its health."""
        pidfd = process.open_pidfd(record.state.pid, record.pid_ticks)
        if pidfd is None:
            self._spawn_record_exit_after_conmon(record)
        else:
            record.pidfd = pidfd
            asyncio.get_running_loop().add_reader(pidfd, self._on_process_exit, record)
        self._health.start(record)

    def unwatch(self, record: ContainerRecord) -> None:
        """Stop watching; the container may go on."""
        self._health.stop(record)
        if record.pidfd >= 0:
            asyncio.get_running_loop().remove_reader(record.pidfd)
            process.close_pidfd(record.pidfd)
            record.pidfd = -1

    def on_exit_file(self, container_id: str) -> None:
        """Handle a change in the exit directory: conmon wrote the exit file, or may have."""
        record = self._index.by_id(container_id)
        if record is not None:
            self._tasks.spawn(self._record_exit(record), f"exit of {container_id[:12]}")

    def publish_exit(self, record: ContainerRecord, status: ExitStatus) -> float | None:
        """Write the state, emit events, and give the exit code to all who wait for it.

        Returns the delay until the restart policy starts the container again, None if the exit is final.
        """
        state = exit_status.exited_state(record.state, status)
        delay_seconds = restart_policy.delay_after_exit(
            record.config.restart,
            state,
            stop_requested=record.stop_requested,
            last_delay_seconds=record.restart_delay_seconds,
        )
        if delay_seconds is not None:
            state = msgspec.structs.replace(state, status=RunStatus.RESTARTING)
        self._index.set_state(record, state)
        self._paths.exit_file(record.config.id).unlink(missing_ok=True)
        if status.oom_killed:
            self._index.emit(record, "oom")
        ran_seconds = (state.finished_at_ns - state.started_at_ns) // _SECOND_NS
        self._index.emit(record, "die", execDuration=str(ran_seconds), exitCode=str(status.code))
        if delay_seconds is None:
            record.exit_waiters.resolve(status.code)
        self._forget_execs(record.config.id)
        record.wake_log_readers()
        return delay_seconds

    async def clean_up(self, record: ContainerRecord, *, ended: bool = False) -> None:
        """Remove runtime state, mounts, bundle, cgroup and network sandbox of a run. The caller holds the lock.

        If the container's process has `ended`, so have all of its PID namespace. The runtime then has nothing to kill, and
        starting it would cost more than the rest of the work.
        """
        if not (ended and await asyncio.to_thread(self._forget, record)):
            await self._runtimes.of(record.config.id).delete(record.config.id)
        await asyncio.to_thread(self._bundles.tear_down, record.config.id)  # unmounting may wait for the disk
        await self._bundles.release_volumes(record.config.id)
        cgroup.remove(self._cgroups, self._paths.cgroup(record.config.id, record.config.cgroup_parent))
        await self._release_networks(record)

    async def _release_networks(self, record: ContainerRecord) -> None:
        if record.config.netns_path not in {"", HOST_NETWORK}:
            await self._networks.release(record.config.id)

    async def _free_networks(self, record: ContainerRecord) -> None:
        """Give addresses and ports back. A kernel that refuses or hangs delays no exit: `clean_up` tries again."""
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._release_networks(record)
        except (CoveyError, OSError) as error:  # also the deadline
            _log.warning(
                "container %s: its network is released later: %s", record.config.name, error or "it takes long"
            )

    def _forget(self, record: ContainerRecord) -> bool:
        """Remove cgroup and runtime state of a container that has ended. False if that takes the runtime."""
        runtime = self._runtimes.of(record.config.id)
        if record.config.pid_mode or not runtime.has_plain_state:
            return False
        if not cgroup.remove(self._cgroups, self._paths.cgroup(record.config.id, record.config.cgroup_parent)):
            return False
        runtime.forget(record.config.id)
        return True

    def _on_process_exit(self, record: ContainerRecord) -> None:
        asyncio.get_running_loop().remove_reader(record.pidfd)
        self._spawn_record_exit_after_conmon(record)

    def _spawn_record_exit_after_conmon(self, record: ContainerRecord) -> None:
        work = self._record_exit_after_conmon(record, record.state.start_count)
        self._tasks.spawn(work, f"exit of {record.config.id[:12]}")

    async def _record_exit_after_conmon(self, record: ContainerRecord, start_count: int) -> None:
        """Record the exit once conmon has ended too: conmon writes the exit file last, if it still lives."""
        pidfd = process.open_pidfd(exit_status.conmon_pid(self._paths, record.config.id))
        if pidfd is not None:
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_CONMON_EXIT_SECONDS):
                        await wait_pidfd(pidfd)
            finally:
                process.close_pidfd(pidfd)
        await self._record_exit(record, lost_start=start_count)

    async def _record_exit(self, record: ContainerRecord, *, lost_start: int = 0) -> None:
        """Record the exit if there is one. `lost_start` is the number of the start whose process and conmon are gone."""
        async with record.lock:
            lost = record.state.start_count == lost_start
            status = exit_status.read_exit_file(self._paths, record.config.id)
            if not record.state.running or (status is None and not lost):
                return
            if status is None:
                status = ExitStatus(exit_status.LOST_EXIT_CODE, False, time.time_ns(), exit_status.MONITOR_DIED)
            self.unwatch(record)
            await self._end_log(record)
            await self._free_networks(record)
            delay_seconds = self.publish_exit(record, status)
            await self.clean_up(record, ended=True)
        if delay_seconds is not None:
            self._restart(record, delay_seconds)
        elif record.config.auto_remove and not record.keep_after_exit and record.state.status is RunStatus.EXITED:
            await self._auto_remove(record)
