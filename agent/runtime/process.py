"""Processes: running programs, and waiting for and signalling any process by pidfd on the asyncio loop.

Invariant: no thread per process, and the loop never blocks. A program's output goes to a memory file instead of a pipe:
the container inherits it, and a pipe would stay open for as long as the container lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from covey.errors import DeadlineError, UnavailableError
from covey.pidfd import wait_pidfd

_OUTPUT_LIMIT = 64 << 10
_STAT_START_FIELD = 19


class ProcessResult(NamedTuple):
    code: int
    output: bytes
    errors: bytes

    @property
    def error_message(self) -> str:
        """The last line of the program's stderr, or its exit code."""
        lines = self.errors.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self.code}"


def _memory_file(content: bytes = b"") -> int:
    fd = os.memfd_create("covey")
    if content:
        os.write(fd, content)
        os.lseek(fd, 0, os.SEEK_SET)
    return fd


async def run(
    argv: Sequence[str],
    *,
    timeout_seconds: float,
    pass_fds: Sequence[int] = (),
    environment: dict[str, str] | None = None,
    stdin: bytes = b"",
    folder: Path = Path("/"),
) -> ProcessResult:
    """Run a program to its end, in the working directory `folder`. Keeps the first 64 KiB of its output.

    After the timeout the program is killed. Raises DeadlineError then, and UnavailableError if it is not installed.
    """
    out, err, inp = _memory_file(), _memory_file(), _memory_file(stdin)
    try:
        try:
            process = subprocess.Popen(  # noqa: ASYNC220  vfork and exec: no thread, about a millisecond
                argv,
                stdin=inp,
                stdout=out,
                stderr=err,
                pass_fds=pass_fds,
                env=environment,
                start_new_session=True,
                cwd=folder,
            )
        except FileNotFoundError:
            raise UnavailableError(f"{argv[0]} is not installed on this host: install its package") from None
        pidfd = os.pidfd_open(process.pid)
        try:
            async with asyncio.timeout(timeout_seconds):
                await wait_pidfd(pidfd)
        except TimeoutError:
            raise DeadlineError(f"{argv[0]} did not end within {timeout_seconds:g} s") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            os.close(pidfd)
        return ProcessResult(process.returncode, os.pread(out, _OUTPUT_LIMIT, 0), os.pread(err, _OUTPUT_LIMIT, 0))
    finally:
        for fd in (out, err, inp):
            os.close(fd)


def bounding_capabilities() -> int:
    """The capability bounding set of this process, as a bit mask."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return int(line.split()[1], 16)
    return 0


def start_ticks(pid: int) -> int:
    """Start time of the process in ticks since boot, which with the pid identifies it; 0 if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[0] == "Z" else int(fields[_STAT_START_FIELD])


def open_pidfd(pid: int, ticks: int = 0) -> int | None:
    """A pidfd of the process, or None if it has ended. If `ticks` is given, the start time must match."""
    if pid <= 0:
        return None
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    now = start_ticks(pid)
    if now == 0 or (ticks and now != ticks):
        os.close(fd)
        return None
    return fd


def close_pidfd(pidfd: int) -> None:
    os.close(pidfd)


def send_signal(pidfd: int, number: int) -> bool:
    """Send the signal. Returns False if the process has ended."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)
        return True
    return False
