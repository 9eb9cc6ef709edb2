"""What a daemon finds when it starts: containers that still run, that ended without it, that were half started; and
things left over.

Law: a running container is never touched; everything of ours that belongs to no running container goes: mounts,
bundles, runtime state,
cgroups, folders. `judge` looks at the kernel and decides; `clean` removes. Called by `ContainerService.open` alone.
"""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Collection, Iterable
from typing import NamedTuple

import msgspec

from agent.container.model import ContainerState, RunStatus
from agent.container.paths import ContainerPaths
from agent.container.store import ContainerRow
from agent.runtime import cgroup, mounts, process, runc

_log = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{64}")
_MONITOR_GRACE_SECONDS = 0.5
LOST_EXIT_CODE = 137
MONITOR_DIED = "the container's monitor died with it; its exit code is not known"
HOST_DIED = "the host went down while the container ran; its exit code is not known"
START_INTERRUPTED = "the daemon died while it started the container: start it again"


class ContainerExit(NamedTuple):
    code: int
    oom_killed: bool
    time_ns: int
    error: str = ""


class RecoveryDecision(NamedTuple):
    """`alive`, or `ending`, or a `status` to fall back to with an `error`."""

    container_id: str
    alive: bool = False
    pid_ticks: int = 0
    container_exit: ContainerExit | None = None
    status: RunStatus = RunStatus.EXITED
    error: str = ""


def read_exit_file(paths: ContainerPaths, container_id: str) -> ContainerExit | None:
    """What the monitor wrote at the end; None while it has not."""
    path = paths.exit_file(container_id)
    try:
        text = path.read_text().strip()
        time_ns = path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
    if not text.lstrip("-").isdigit():
        return None
    return ContainerExit(int(text), (paths.bundle(container_id) / "oom").exists(), time_ns)


def exited_state(state: ContainerState, container_exit: ContainerExit) -> ContainerState:
    """The state after the end. A file's time stamp lags behind the clock by up to a tick of the kernel, and the clock may have been set
    back meanwhile: no end is told to be before its start.
    """
    return msgspec.structs.replace(
        state,
        status=RunStatus.EXITED,
        pid=0,
        exit_code=container_exit.code,
        oom_killed=container_exit.oom_killed,
        error=container_exit.error,
        finished_at_ns=max(container_exit.time_ns, state.started_at_ns),
    )


def decide_recovery(
    rows: Iterable[ContainerRow], paths: ContainerPaths, runtime: runc.OciRuntime
) -> list[RecoveryDecision]:
    """One verdict for each container that the last daemon left running or starting."""
    return [
        verdict
        for row in rows
        if row.starting or row.container.state.running
        for verdict in [_decide_one(row, paths, runtime)]
    ]


def _decide_one(row: ContainerRow, paths: ContainerPaths, runtime: runc.OciRuntime) -> RecoveryDecision:
    container_id, state = row.container.id, row.container.state
    if row.starting and (not state.running or runtime.is_created(container_id)):
        before = RunStatus.EXITED if state.start_count > state.running else RunStatus.CREATED
        return RecoveryDecision(container_id, status=before, error=START_INTERRUPTED)
    fd = process.open_pidfd(state.pid, row.pid_ticks)
    if fd is not None:
        process.close_pidfd(fd)
        return RecoveryDecision(container_id, alive=True, pid_ticks=row.pid_ticks)
    ending = read_exit_file(paths, container_id)
    deadline = time.monotonic() + _MONITOR_GRACE_SECONDS
    while ending is None and _monitor_is_alive(paths, container_id) and time.monotonic() < deadline:
        time.sleep(0.005)  # its process has just ended; before the service is open nothing else waits for the loop
        ending = read_exit_file(paths, container_id)
    if ending is None:
        error = MONITOR_DIED if paths.bundle(container_id).exists() else HOST_DIED
        ending = ContainerExit(LOST_EXIT_CODE, False, time.time_ns(), error)
    return RecoveryDecision(container_id, container_exit=ending)


def monitor_pid(paths: ContainerPaths, container_id: str) -> int:
    """The pid of its conmon; 0 when that left no word."""
    try:
        return int((paths.bundle(container_id) / "conmon.pid").read_text())
    except (OSError, ValueError):
        return 0


def _monitor_is_alive(paths: ContainerPaths, container_id: str) -> bool:
    pid = monitor_pid(paths, container_id)
    return pid > 0 and process.start_ticks(pid) != 0


def alive_ids(verdicts: Iterable[RecoveryDecision]) -> set[str]:
    return {verdict.container_id for verdict in verdicts if verdict.alive}


async def remove_leftovers(
    paths: ContainerPaths,
    runtime: runc.OciRuntime,
    host: cgroup.CgroupLayout,
    existing_ids: Collection[str],
    running_ids: Collection[str],
) -> None:
    """Remove what belongs to no running container; folders that belong to no known one."""
    for container_id in runtime.container_ids():
        if container_id not in running_ids:
            await runtime.delete(container_id)
    for name in sorted(cgroup.children(host, paths.cgroup_parent)):
        if _ID.fullmatch(name) and name not in running_ids:
            cgroup.kill_all(host, paths.cgroup(name))
            cgroup.remove(host, paths.cgroup(name))
    for target in mounts.mount_points_below(paths.folders):
        if target.removeprefix(f"{paths.folders}/").partition("/")[0] not in running_ids:
            _log.info("unmounting what a container left at %s", target)
            mounts.unmount(target)
    for folder, keep in ((paths.bundles, running_ids), (paths.execs, ()), (paths.folders, existing_ids)):
        for path in folder.iterdir():
            if path.name not in keep:
                shutil.rmtree(path, ignore_errors=True)
    for path in paths.exits.iterdir():
        if path.name not in running_ids:
            path.unlink(missing_ok=True)
