"""Recovery after a daemon restart: containers to adopt, exits that happened meanwhile, and leftovers to remove.

Invariant: a running container is never touched; mounts, bundles, runtime state, cgroups and directories that belong to
no running container are removed. `decide_recovery` reads the kernel's state and decides; `remove_leftovers` removes.
Called by `ContainerService.open` only.
"""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Collection, Iterable
from typing import NamedTuple

from agent.container.exit_status import (
    HOST_DIED,
    LOST_EXIT_CODE,
    MONITOR_DIED,
    ExitStatus,
    conmon_pid,
    read_exit_file,
)
from agent.container.model import ContainerConfig, ContainerState, RunStatus
from agent.container.paths import ContainerPaths
from agent.container.runtimes import ContainerRuntimes
from agent.container.store import ContainerRow
from agent.runtime import cgroup, mounts, process

_log = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{64}")
_CONMON_GRACE_SECONDS = 0.5
START_INTERRUPTED = "the daemon died while it started the container: start it again"


class RecoveryDecision(NamedTuple):
    """`alive`, or the `exit_status` of a container that exited, or a `status` to fall back to with an `error`."""

    container_id: str
    alive: bool = False
    pid_ticks: int = 0
    exit_status: ExitStatus | None = None
    status: RunStatus = RunStatus.EXITED
    error: str = ""


def decide_recovery(
    rows: Iterable[ContainerRow], paths: ContainerPaths, runtimes: ContainerRuntimes
) -> list[RecoveryDecision]:
    """One decision for each container that the previous daemon left running or starting."""
    return [_decide_one(row, paths, runtimes) for row in rows if row.starting or row.container.state.running]


def has_ended(state: ContainerState) -> bool:
    """Whether a container with `--rm` is removed when the daemon starts: it has exited, or its start was interrupted."""
    return state.status is RunStatus.EXITED or state.error == START_INTERRUPTED


def alive_ids(decisions: Iterable[RecoveryDecision]) -> set[str]:
    """Ids of the containers that still run."""
    return {decision.container_id for decision in decisions if decision.alive}


async def remove_leftovers(
    paths: ContainerPaths,
    runtimes: ContainerRuntimes,
    cgroups: cgroup.CgroupLayout,
    configs: Collection[ContainerConfig],
    running_ids: Collection[str],
) -> None:
    """Remove what belongs to no running container, and the directories of containers that do not exist."""
    for container_id in runtimes.container_ids():
        if container_id not in running_ids:
            await runtimes.of(container_id).delete(container_id)
    for name in sorted(cgroup.children(cgroups, paths.cgroup_parent)):
        if _ID.fullmatch(name) and name not in running_ids:
            cgroup.kill_all(cgroups, paths.cgroup(name))
            cgroup.remove(cgroups, paths.cgroup(name))
    for config in configs:
        if config.cgroup_parent and config.id not in running_ids:
            cgroup.kill_all(cgroups, paths.cgroup(config.id, config.cgroup_parent))
            cgroup.remove(cgroups, paths.cgroup(config.id, config.cgroup_parent))
    existing_ids = {config.id for config in configs}
    for target in mounts.mount_points_below(paths.folders):
        if target.removeprefix(f"{paths.folders}/").partition("/")[0] not in running_ids:
            _log.info("unmounting %s, left over from a container that does not run", target)
            mounts.unmount(target)
    for folder, kept_ids in ((paths.bundles, running_ids), (paths.execs, ()), (paths.folders, existing_ids)):
        for path in folder.iterdir():
            if path.name not in kept_ids:
                shutil.rmtree(path, ignore_errors=True)
    for path in paths.exits.iterdir():
        if path.name not in running_ids:
            path.unlink(missing_ok=True)


def _decide_one(row: ContainerRow, paths: ContainerPaths, runtimes: ContainerRuntimes) -> RecoveryDecision:
    container_id, state = row.container.id, row.container.state
    if row.starting and (not state.running or runtimes.of(container_id).is_created(container_id)):
        before = RunStatus.EXITED if state.start_count > state.running else RunStatus.CREATED
        return RecoveryDecision(container_id, status=before, error=START_INTERRUPTED)
    pidfd = process.open_pidfd(state.pid, row.pid_ticks)
    if pidfd is not None:
        process.close_pidfd(pidfd)
        return RecoveryDecision(container_id, alive=True, pid_ticks=row.pid_ticks)
    return RecoveryDecision(container_id, exit_status=_missed_exit(paths, container_id))


def _missed_exit(paths: ContainerPaths, container_id: str) -> ExitStatus:
    """The exit of a container whose process has ended. Waits briefly for a conmon that still writes its exit file."""
    status = read_exit_file(paths, container_id)
    deadline = time.monotonic() + _CONMON_GRACE_SECONDS
    while status is None and _conmon_is_alive(paths, container_id) and time.monotonic() < deadline:
        time.sleep(0.005)  # blocking is fine: before the service is open nothing else needs the loop
        status = read_exit_file(paths, container_id)
    if status is None:
        error = MONITOR_DIED if paths.bundle(container_id).exists() else HOST_DIED
        status = ExitStatus(LOST_EXIT_CODE, False, time.time_ns(), error)
    return status


def _conmon_is_alive(paths: ContainerPaths, container_id: str) -> bool:
    pid = conmon_pid(paths, container_id)
    return pid > 0 and process.start_ticks(pid) != 0
