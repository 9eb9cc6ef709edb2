"""conmon, the monitor that stands by each container and outlives this daemon.

Law: conmon alone holds a container's output, its log, its terminal and its exit code; we ask it to create, and read
what it leaves in
files. Its protocol: a byte on the start pipe lets it go, one JSON line on the sync pipe answers ({"data": pid}, or
-1 with a message).
Callers: `agent.container.service` for containers, `agent.container.execs` for execs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from agent.runtime import process
from covey.errors import CoveyError, DeadlineError

_PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_LINE_LIMIT = 64 << 10
CREATE_TIMEOUT_SECONDS = 60.0


class OciRuntimeError(CoveyError):
    """The OCI runtime could not make the container or the exec; `exit_code` is what Docker reports for it (125 to
    127).
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        low = message.lower()
        if "executable file not found" in low or "no such file or directory" in low:
            self.exit_code = 127
        elif "permission denied" in low or "is a directory" in low or "exec format error" in low:
            self.exit_code = 126
        else:
            self.exit_code = 128


class Conmon(NamedTuple):
    """How to call conmon for everything on this host."""

    runtime: str
    runtime_root: Path
    exit_dir: Path
    program: str = "conmon"

    def arguments(self, container_id: str, name: str, bundle: Path, exit_dir: Path) -> list[str]:
        return [
            self.program,
            "--api-version=1",
            f"--cid={container_id}",
            f"--cuuid={container_id}",
            f"--name={name}",
            f"--runtime={self.runtime}",
            f"--runtime-arg=--root={self.runtime_root}",
            f"--bundle={bundle}",
            f"--container-pidfile={bundle}/pid",
            f"--conmon-pidfile={bundle}/conmon.pid",
            f"--exit-dir={exit_dir}",
            "--full-attach",
            "--log-level=error",
        ]


class ConmonPipes:
    """Our ends of conmon's start and sync pipes."""

    def __init__(self) -> None:
        self.sync, self._sync_child = os.pipe2(os.O_CLOEXEC)
        self._start_child, self._start = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.sync, False)
        self._buffer = b""

    @property
    def children(self) -> tuple[int, int]:
        """The descriptors that conmon gets: sync, start."""
        return self._sync_child, self._start_child

    def release(self) -> None:
        """Let conmon take its next step."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._start, b"\0")

    def close_children(self) -> None:
        for fd in (self._sync_child, self._start_child):
            if fd >= 0:
                os.close(fd)
        self._sync_child = self._start_child = -1

    async def read_reply(self, timeout_seconds: float | None) -> tuple[int, str]:
        """The next line: its number and message. EOFError when conmon went away without one."""
        line = await self._line(timeout_seconds)
        try:
            answer = json.loads(line)
            return int(answer["data"]), str(answer.get("message", ""))
        except (ValueError, KeyError, TypeError):
            raise OciRuntimeError(f"conmon answered {line!r}") from None

    def close(self) -> None:
        self.close_children()
        for fd in (self.sync, self._start):
            if fd >= 0:
                os.close(fd)
        self.sync = self._start = -1

    async def _line(self, timeout_seconds: float | None) -> bytes:
        try:
            async with asyncio.timeout(timeout_seconds):
                while b"\n" not in self._buffer:
                    await _readable(self.sync)
                    with contextlib.suppress(BlockingIOError):
                        data = os.read(self.sync, 4096)
                        if not data:
                            raise EOFError("conmon ended without an answer")
                        self._buffer += data
                        if len(self._buffer) > _LINE_LIMIT:
                            raise OciRuntimeError("conmon's answer is over 64 KiB")
        except TimeoutError:
            raise DeadlineError(f"conmon gave no answer within {timeout_seconds:g} s") from None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, wake)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def launch(arguments: Sequence[str], pipe: ConmonPipes, bundle: Path, *, attach: bool = False) -> None:
    """Start conmon (it leaves us for a life of its own) with the first byte already on its start pipe.

    It runs in the bundle: on an out-of-memory kill it leaves a file called ``oom`` where it stands.
    """
    sync, start = pipe.children
    environment = {**_PATH, "_OCI_SYNCPIPE": str(sync), "_OCI_STARTPIPE": str(start)}
    if attach:
        environment["_OCI_ATTACHPIPE"] = str(sync)
    pipe.release()
    try:
        finished = await process.run(
            arguments,
            timeout_seconds=CREATE_TIMEOUT_SECONDS,
            pass_fds=(sync, start),
            environment=environment,
            folder=bundle,
        )
    finally:
        pipe.close_children()
    if finished.code != 0:
        raise OciRuntimeError(f"conmon: {finished.error_message}")


async def create(
    monitor: Conmon,
    container_id: str,
    name: str,
    bundle: Path,
    *,
    log_path: Path,
    log_max_bytes: int,
    tty: bool,
    stdin: bool,
    leave_stdin_open: bool,
) -> int:
    """Make the container (its process waits to be started) under a new conmon and return the process id.

    Raises RuntimeRefusedError with the runtime's own words.
    """
    arguments = [
        *monitor.arguments(container_id, name, bundle, monitor.exit_dir),
        f"--persist-dir={bundle}",
        f"--log-path=k8s-file:{log_path}",
        f"--log-size-max={log_max_bytes}",
        *(["--terminal"] if tty else []),
        *(["--stdin"] if stdin else []),
        *(["--leave-stdin-open"] if leave_stdin_open else []),
    ]
    pipe = ConmonPipes()
    try:
        await launch(arguments, pipe, bundle)
        try:
            pid, message = await pipe.read_reply(CREATE_TIMEOUT_SECONDS)
        except EOFError as error:
            raise OciRuntimeError(str(error)) from None
    finally:
        pipe.close()
    if pid < 0:
        raise OciRuntimeError(clean_message(message))
    return pid


def clean_message(message: str) -> str:
    """The runtime's complaint without its log decoration."""
    text = " ".join(message.split())
    if 'msg="' in text:
        text = text.rpartition('msg="')[2].rstrip('"').replace('\\"', '"')
    return text.removeprefix("runc create failed: ")


def resize(bundle: Path, height: int, width: int) -> None:
    """Tell the terminal its size; silently nothing when the process is gone."""
    _control(bundle, f"1 {height} {width}\n")


def reopen_log(bundle: Path) -> None:
    """Make conmon open its log path anew, after we moved the old file away."""
    _control(bundle, "2 0 0\n")


def _control(bundle: Path, line: str) -> None:
    try:
        fd = os.open(bundle / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # no reader: the monitor has ended
    try:
        with contextlib.suppress(OSError):
            os.write(fd, line.encode())
    finally:
        os.close(fd)
