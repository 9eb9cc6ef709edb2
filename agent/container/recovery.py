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

from agent.container.model import ContainerState, Status
from agent.container.paths import Paths
from agent.container.store import Row
from agent.runtime import cgroup, mounts, process, runc

_log = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{64}")
_MONITOR_GRACE_SECONDS = 0.5
LOST_EXIT_CODE = 137
MONITOR_DIED = "the container's monitor died with it; its exit code is not known"
HOST_DIED = "the host went down while the container ran; its exit code is not known"
START_BROKEN = "the daemon died while it started the container: start it again"


class Ending(NamedTuple):
    code: int
    oom_killed: bool
    time_ns: int
    error: str = ""


class Verdict(NamedTuple):
    """`alive`, or `ending`, or a `status` to fall back to with an `error`."""

    container_id: str
    alive: bool = False
    pid_ticks: int = 0
    ending: Ending | None = None
    status: Status = Status.EXITED
    error: str = ""


def read_exit(paths: Paths, container_id: str) -> Ending | None:
    """What the monitor wrote at the end; None while it has not."""
    path = paths.exit_file(container_id)
    try:
        text = path.read_text().strip()
        time_ns = path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
    if not text.lstrip("-").isdigit():
        return None
    return Ending(int(text), (paths.bundle(container_id) / "oom").exists(), time_ns)


def ended(state: ContainerState, ending: Ending) -> ContainerState:
    """The state after the end. A file's time stamp lags behind the clock by up to a tick of the kernel, and the clock may have been set
    back meanwhile: no end is told to be before its start.
    """
    return msgspec.structs.replace(
        state,
        status=Status.EXITED,
        pid=0,
        exit_code=ending.code,
        oom_killed=ending.oom_killed,
        error=ending.error,
        finished_at_ns=max(ending.time_ns, state.started_at_ns),
    )


def judge(rows: Iterable[Row], paths: Paths, runtime: runc.Runtime) -> list[Verdict]:
    """One verdict for each container that the last daemon left running or starting."""
    return [
        verdict
        for row in rows
        if row.starting or row.container.state.running
        for verdict in [_one(row, paths, runtime)]
    ]


def _one(row: Row, paths: Paths, runtime: runc.Runtime) -> Verdict:
    container_id, state = row.container.id, row.container.state
    if row.starting and (not state.running or runtime.waits_for_start(container_id)):
        before = Status.EXITED if state.starts > state.running else Status.CREATED
        return Verdict(container_id, status=before, error=START_BROKEN)
    fd = process.open_pidfd(state.pid, row.pid_ticks)
    if fd is not None:
        process.close_pidfd(fd)
        return Verdict(container_id, alive=True, pid_ticks=row.pid_ticks)
    ending = read_exit(paths, container_id)
    deadline = time.monotonic() + _MONITOR_GRACE_SECONDS
    while ending is None and _monitor_lives(paths, container_id) and time.monotonic() < deadline:
        time.sleep(0.005)  # its process has just ended; before the service is open nothing else waits for the loop
        ending = read_exit(paths, container_id)
    if ending is None:
        error = MONITOR_DIED if paths.bundle(container_id).exists() else HOST_DIED
        ending = Ending(LOST_EXIT_CODE, False, time.time_ns(), error)
    return Verdict(container_id, ending=ending)


def monitor_pid(paths: Paths, container_id: str) -> int:
    """The pid of its conmon; 0 when that left no word."""
    try:
        return int((paths.bundle(container_id) / "conmon.pid").read_text())
    except (OSError, ValueError):
        return 0


def _monitor_lives(paths: Paths, container_id: str) -> bool:
    pid = monitor_pid(paths, container_id)
    return pid > 0 and process.start_ticks(pid) != 0


def alive(verdicts: Iterable[Verdict]) -> set[str]:
    return {verdict.container_id for verdict in verdicts if verdict.alive}


async def clean(
    paths: Paths, runtime: runc.Runtime, host: cgroup.CgroupHost, known: Collection[str], running: Collection[str]
) -> None:
    """Remove what belongs to no running container; folders that belong to no known one."""
    for container_id in runtime.known():
        if container_id not in running:
            await runtime.delete(container_id)
    for name in sorted(cgroup.children(host, paths.cgroup_parent)):
        if _ID.fullmatch(name) and name not in running:
            cgroup.kill_all(host, paths.cgroup(name))
            cgroup.remove(host, paths.cgroup(name))
    for target in mounts.mounted_under(paths.folders):
        if target.removeprefix(f"{paths.folders}/").partition("/")[0] not in running:
            _log.info("unmounting what a container left at %s", target)
            mounts.unmount(target)
    for folder, keep in ((paths.bundles, running), (paths.execs, ()), (paths.folders, known)):
        for path in folder.iterdir():
            if path.name not in keep:
                shutil.rmtree(path, ignore_errors=True)
    for path in paths.exits.iterdir():
        if path.name not in running:
            path.unlink(missing_ok=True)
