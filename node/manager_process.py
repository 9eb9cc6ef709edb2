"""Manager process: started, supervised and restarted by the daemon.

Invariant: a manager that hangs or crashes does not affect containers. It never outlives its daemon, because it exits when its standard
input closes. It receives keys over standard input, never in a file, and reports new unlock keys over standard output. Called by
``node.role_follower``.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from covey.errors import DeadlineError, UnavailableError
from covey.task_group import TaskGroup
from manager.interface import (
    EXIT_LOCKED,
    EXIT_REMOVED,
    MANAGER_MODULE,
    READY_LINE,
    LockedError,
    ManagerConfig,
    parse_unlock_key,
    without_root_key,
)
from node.line_splitter import read_lines
from node.unlock_key_cache import UnlockKeyCache

READY_SECONDS = 30.0
STOP_SECONDS = 15.0
RESTART_DELAYS_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
STABLE_SECONDS = 60.0
"""A manager that ran this long restarts without a growing delay."""
_ERROR_LINES = 20
_LOCK_RETRY_SECONDS = 0.02

log = logging.getLogger(__name__)


class ManagerProcess:
    """One manager process; ``run`` keeps it alive until cancelled. ``error`` is the reason why it does not serve, or an empty string.
    ``has_served`` is set once any of its starts succeeded.
    """

    def __init__(self, run_dir: Path, unlock_keys: UnlockKeyCache) -> None:
        self._unlock_keys = unlock_keys
        self._config_path = run_dir / "manager.json"
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._restart_requested = False
        self.has_served = False
        self.error = ""

    @property
    def running(self) -> bool:
        """Whether the process runs and has reported that it serves."""
        return self._ready.is_set()

    async def wait_ready(self) -> None:
        """Wait until the manager serves.

        Raises:
            DeadlineError: it does not within 30 s.
        """
        try:
            await asyncio.wait_for(self._ready.wait(), READY_SECONDS)
        except TimeoutError:
            raise DeadlineError(f"the manager did not start within {READY_SECONDS:g} s; see the daemon's log") from None

    def restart(self) -> None:
        """Stop the process, if it runs, so that it starts again with a new configuration."""
        if self._process is not None and self._process.returncode is None:
            self._restart_requested = True
            self._process.terminate()

    async def run(self, configure: Callable[[], ManagerConfig], *, must_start: bool) -> None:
        """Start the manager, and restart it with growing delays whenever it exits. ``configure`` returns the configuration of each start.

        Returns when the Raft group has removed this manager. Cancel it to stop the process gracefully. With ``must_start`` a first start
        that fails raises its error. A node that is already a member retries instead: the manager of the previous daemon may still hold
        the log or the port.

        Raises:
            UnavailableError: the first start failed and ``must_start`` is set; the message is the manager's last log line.
            LockedError: its files are locked with a key that the daemon does not have.
        """
        try:
            await self._keep_alive(configure, must_start=must_start)
        finally:
            self.error = ""  # a demoted node has no manager that could be in error

    async def _keep_alive(self, configure: Callable[[], ManagerConfig], *, must_start: bool) -> None:
        attempt, is_first = 0, True
        while True:
            started_at = asyncio.get_running_loop().time()
            code, start_error = await self._run_once(configure())
            if code == EXIT_REMOVED:
                log.info("the Raft group has removed this node's manager")
                return
            if code == EXIT_LOCKED:
                raise LockedError(start_error or "this manager's files are locked")
            if self._restart_requested:
                self._restart_requested = False
                continue
            if must_start and is_first and start_error is not None:
                raise UnavailableError(f"the manager did not start: {start_error}")
            is_first = False
            if asyncio.get_running_loop().time() - started_at > STABLE_SECONDS:
                attempt = 0
            delay = RESTART_DELAYS_SECONDS[min(attempt, len(RESTART_DELAYS_SECONDS) - 1)]
            self.error = f"this node's manager exited with code {code}: {start_error or 'see the log of the daemon'}"
            log.error("%s; it restarts in %g s", self.error, delay)
            attempt += 1
            await asyncio.sleep(delay)

    async def _run_once(self, config: ManagerConfig) -> tuple[int, str | None]:
        """Run the process until it exits. The exit code, and the last log line if it never served."""
        public, root_key = without_root_key(config)
        self._write_config(public)
        try:
            lock = await self._acquire_lock()
        except TimeoutError:
            return 1, f"the manager of the previous daemon has not exited within {STOP_SECONDS:g} s"
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                MANAGER_MODULE,
                "--config",
                str(self._config_path),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd="/",
                pass_fds=(lock,),
            )
        finally:
            os.close(lock)
        self._process = process
        log_lines: list[str] = []
        try:
            async with TaskGroup() as group:
                group.create_task(self._send_startup_secrets(process, root_key))
                group.create_task(self._read_output(process))
                group.create_task(_forward_log(process, log_lines))
                code = await process.wait()
        finally:
            served = self._ready.is_set()
            self._ready.clear()
            await _stop(process)
        return code, None if served else (log_lines[-1] if log_lines else f"exit code {code}")

    async def _acquire_lock(self) -> int:
        """A lock that the manager process inherits and holds until the kernel has ended it. The previous manager, whose daemon may have
        been killed, must release its log, ports and socket before the next one starts; otherwise the old one would remove the new
        one's socket.

        Raises:
            TimeoutError: the previous manager does not exit.
        """
        fd = os.open(self._config_path.with_name("manager.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while True:
                    with contextlib.suppress(BlockingIOError):
                        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        return fd
                    await asyncio.sleep(_LOCK_RETRY_SECONDS)
        except BaseException:
            os.close(fd)
            raise

    async def _send_startup_secrets(self, process: asyncio.subprocess.Process, root_key: bytes) -> None:
        """The pipe stays open afterwards, because its end tells the manager that the daemon is gone."""
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        if secrets := msgspec.structs.replace(self._unlock_keys.startup_secrets, root_key=root_key):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the exit is handled elsewhere
                process.stdin.write(secrets.line())
                await process.stdin.drain()

    async def _read_output(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        async for line in read_lines(process.stdout):
            if key := parse_unlock_key(line):
                self._unlock_keys.add(key)
            if line.strip() == READY_LINE:
                self.error = ""
                self.has_served = True
                self._ready.set()

    def _write_config(self, config: ManagerConfig) -> None:
        fd = os.open(self._config_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor with its mode
            file.write(msgspec.json.encode(config))


async def _forward_log(process: asyncio.subprocess.Process, log_lines: list[str]) -> None:
    """Copy the manager's log to the daemon's, and keep its last lines for the error if it never serves."""
    assert process.stderr is not None  # noqa: S101 - a pipe was asked for
    async for line in read_lines(process.stderr):
        text = line.decode(errors="replace")
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
        if text := text.strip():
            log_lines.append(text)
            del log_lines[:-_ERROR_LINES]


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Send TERM, so that it hands over leadership, then KILL."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await asyncio.shield(process.wait())
    except (TimeoutError, asyncio.CancelledError):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
