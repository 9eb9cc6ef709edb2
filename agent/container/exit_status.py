"""Exit status of a container, from conmon's exit file, and the state that it leads to.

conmon writes the exit code to a file named after the container, and creates `oom` in the bundle on an out-of-memory
kill. Called by `agent.container.exit_watcher` and `agent.container.recovery`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from agent.container.model import ContainerState, RunStatus
from agent.container.paths import ContainerPaths

LOST_EXIT_CODE = 137
MONITOR_DIED = "the container's monitor died with it; its exit code is not known"
HOST_DIED = "the host went down while the container ran; its exit code is not known"


class ExitStatus(NamedTuple):
    """`error` says why the exit code is not known, if it is not."""

    code: int
    oom_killed: bool
    time_ns: int
    error: str = ""


def read_exit_file(paths: ContainerPaths, container_id: str) -> ExitStatus | None:
    """The exit status that conmon wrote; None while it has not."""
    path = paths.exit_file(container_id)
    try:
        text = path.read_text().strip()
        time_ns = path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
    if not text.lstrip("-").isdigit():
        return None
    return ExitStatus(int(text), (paths.bundle(container_id) / "oom").exists(), time_ns)


def exited_state(state: ContainerState, exit_status: ExitStatus) -> ContainerState:
    """The state after the exit. `finished_at_ns` is never before the start.

    A file's time stamp lags behind the clock by up to one kernel tick, and the clock may have been set back.
    """
    return msgspec.structs.replace(
        state,
        status=RunStatus.EXITED,
        pid=0,
        exit_code=exit_status.code,
        oom_killed=exit_status.oom_killed,
        error=exit_status.error,
        finished_at_ns=max(exit_status.time_ns, state.started_at_ns),
    )


def conmon_pid(paths: ContainerPaths, container_id: str) -> int:
    """The pid of the container's conmon, or 0 if it left no pid file."""
    try:
        return int((paths.bundle(container_id) / "conmon.pid").read_text())
    except (OSError, ValueError):
        return 0
