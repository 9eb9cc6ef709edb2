"""Process table of a container (`docker top`), with the columns of `ps -ef`, read from /proc."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Sequence
from pathlib import Path

from agent.container.model import ProcessTable
from covey.errors import InvalidArgumentError

TITLES = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
_TICKS = os.sysconf("SC_CLK_TCK")


def read_process_table(pids: Sequence[int]) -> ProcessTable:
    """One row per process. Processes that end meanwhile are left out."""
    boot = time.time() - float(Path("/proc/uptime").read_text().split()[0])
    rows = [row for pid in pids if (row := _row(pid, boot)) is not None]
    return ProcessTable(TITLES, tuple(rows))


def parse_ps(text: str, pids: Sequence[int]) -> ProcessTable:
    """The rows of the output of `ps` that belong to these processes. Raises InvalidArgumentError without a PID column."""
    header, *lines = text.splitlines() or [""]
    titles = tuple(header.split())
    if "PID" not in titles:
        raise InvalidArgumentError("Couldn't find PID field in ps output")
    column, wanted = titles.index("PID"), {str(pid) for pid in pids}
    rows = [tuple(line.split(maxsplit=len(titles) - 1)) for line in lines]
    return ProcessTable(titles, tuple(row for row in rows if len(row) > column and row[column] in wanted))


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _row(pid: int, boot_seconds: float) -> tuple[str, ...] | None:
    folder = Path(f"/proc/{pid}")
    try:
        stat = (folder / "stat").read_text()
        command = (folder / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        uid = folder.stat().st_uid
    except OSError:
        return None
    name = stat[stat.index("(") + 1 : stat.rindex(")")]
    fields = stat.rpartition(")")[2].split()
    parent, tty, used, start = fields[1], int(fields[4]), int(fields[11]) + int(fields[12]), int(fields[19])
    seconds = used // _TICKS
    started = boot_seconds + start / _TICKS
    age = max(time.time() - started, 1)
    return (
        _user_name(uid),
        str(pid),
        parent,
        str(min(99, int(100 * used / _TICKS / age))),
        time.strftime("%H:%M", time.localtime(started)),
        f"pts/{tty & 0xFF}" if tty else "?",
        f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}",
        command or f"[{name}]",
    )
