"""conmon, the monitor process of each container and exec, which outlives this daemon.

Invariant: conmon alone holds a container's output, log, terminal and exit code. This daemon asks it to create the
container and reads the files that it leaves: `pid`, `conmon.pid`, `oom` and the exit file. Called by
`agent.container.lifecycle` for containers, `agent.container.execs` for execs, and `agent.logs.rotation`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from agent.runtime import process
from agent.runtime.conmon_pipes import ConmonPipes
from agent.runtime.errors import OciRuntimeError, clean_message
from agent.runtime.runc import OciRuntime

_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "UTC"}
"""The time zone is that of the time stamps in logs."""
CREATE_TIMEOUT_SECONDS = 60.0


class LogFile(NamedTuple):
    """The file for a container's output. At `max_bytes` conmon begins it again; 0 means never."""

    path: Path
    max_bytes: int = 0


class Conmon(NamedTuple):
    """conmon's program and the options that are the same for everything on this host."""

    exit_dir: Path
    program: str = "conmon"

    async def create(
        self,
        container_id: str,
        name: str,
        bundle: Path,
        *,
        runtime: OciRuntime,
        log: LogFile | None,
        terminal: bool,
        stdin: bool,
        leave_stdin_open: bool,
    ) -> int:
        """Create the container under a new conmon and return its pid. The process waits until the runtime starts it.

        Raises OciRuntimeError with the runtime's message.
        """
        arguments = [
            *self._arguments(runtime, container_id, name, bundle, self.exit_dir),
            f"--persist-dir={bundle}",
            *_log_arguments(log),
            *(["--terminal"] if terminal else []),
            *(["--stdin"] if stdin else []),
            *(["--leave-stdin-open"] if leave_stdin_open else []),
        ]
        pipes = ConmonPipes()
        try:
            await _launch(arguments, pipes, bundle)
            try:
                return await _read_pid(pipes)
            except EOFError as error:
                raise OciRuntimeError(str(error)) from None
        finally:
            pipes.close()

    async def start_exec(
        self,
        container_id: str,
        name: str,
        folder: Path,
        pipes: ConmonPipes,
        *,
        runtime: OciRuntime,
        terminal: bool,
        stdin: bool,
        on_attachable: Callable[[], Awaitable[None]] | None,
    ) -> int:
        """Start the process in `folder`/process.json in the running container and return its pid.

        `on_attachable` is awaited when the attach socket accepts clients, before the process starts; None drops the
        output. conmon sends the exit code as the next reply on `pipes`.
        """
        exit_dir = folder / "exits"
        exit_dir.mkdir(mode=0o700)
        arguments = [
            *self._arguments(runtime, container_id, name, folder, exit_dir),
            "--log-path=k8s-file:/dev/null",
            "--exec",
            f"--exec-process-spec={folder}/process.json",
            *(["--terminal"] if terminal else []),
            *(["--stdin"] if stdin else []),
            *(["--exec-attach"] if on_attachable else []),
        ]
        await _launch(arguments, pipes, folder, attach=on_attachable is not None)
        if on_attachable is not None:
            await _read_pid(pipes)
            await on_attachable()
            pipes.release()
        return await _read_pid(pipes)

    def _arguments(self, runtime: OciRuntime, container_id: str, name: str, bundle: Path, exit_dir: Path) -> list[str]:
        return [
            self.program,
            "--api-version=1",
            f"--cid={container_id}",
            f"--cuuid={container_id}",
            f"--name={name}",
            f"--runtime={runtime.program}",
            *(f"--runtime-arg={option}" for option in runtime.options),
            f"--bundle={bundle}",
            f"--container-pidfile={bundle}/pid",
            f"--conmon-pidfile={bundle}/conmon.pid",
            f"--exit-dir={exit_dir}",
            "--full-attach",
            "--log-level=error",
        ]


def _log_arguments(log: LogFile | None) -> list[str]:
    if log is None:
        return ["--log-path=none"]
    return [f"--log-path=k8s-file:{log.path}", *([f"--log-size-max={log.max_bytes}"] if log.max_bytes else [])]


def resize(bundle: Path, height: int, width: int) -> None:
    """Set the size of the terminal. Does nothing if the process has ended."""
    _control(bundle, f"1 {height} {width}\n")


def reopen_log(bundle: Path) -> None:
    """Make conmon open its log path again, after the old file was moved away."""
    _control(bundle, "2 0 0\n")


async def _launch(arguments: Sequence[str], pipes: ConmonPipes, bundle: Path, *, attach: bool = False) -> None:
    """Start conmon, which detaches itself, and let it take its first step.

    Its working directory is the bundle, because it creates a file `oom` there on an out-of-memory kill.
    """
    sync, start = pipes.children
    environment = {**_ENVIRONMENT, "_OCI_SYNCPIPE": str(sync), "_OCI_STARTPIPE": str(start)}
    if attach:
        environment["_OCI_ATTACHPIPE"] = str(sync)
    pipes.release()
    try:
        result = await process.run(
            arguments,
            timeout_seconds=CREATE_TIMEOUT_SECONDS,
            pass_fds=(sync, start),
            environment=environment,
            folder=bundle,
        )
    finally:
        pipes.close_children()
    if result.code != 0:
        raise OciRuntimeError(f"conmon: {result.error_message}")


async def _read_pid(pipes: ConmonPipes) -> int:
    pid, message = await pipes.read_reply(CREATE_TIMEOUT_SECONDS)
    if pid < 0:
        raise OciRuntimeError(clean_message(message))
    return pid


def _control(bundle: Path, line: str) -> None:
    try:
        fd = os.open(bundle / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # no reader: conmon has ended
    try:
        with contextlib.suppress(OSError):
            os.write(fd, line.encode())
    finally:
        os.close(fd)
