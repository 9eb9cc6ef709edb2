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
from manager.config import ManagerConfig, without_root_key
from manager.keys import LockedError
from manager.keys.startup_secrets import StartupSecrets, parse_unlock_key
from node.line_splitter import read_lines
from node.unlock_key_cache import UnlockKeyCache

READY_SECONDS = 30.0
STOP_SECONDS = 15.0
RESTART_DELAYS_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
STABLE_SECONDS = 60.0
REMOVED_EXIT_CODE = 3
LOCKED_EXIT_CODE = 4
_ERROR_LINES = 20
_LOCK_PAUSE_SECONDS = 0.02

log = logging.getLogger(__name__)


class ManagerProcess:
    """One manager process; ``run`` keeps it alive until cancelled. ``trouble`` says why it does not serve, for people; ``served``
    whether one of its lives did.
    """

    def __init__(self, run_dir: Path, unlock_keys: UnlockKeyCache | None = None) -> None:
        self._vault = unlock_keys
        self._config_path = run_dir / "manager.json"
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._again = False
        self.has_served = False
        self.error = ""

    @property
    def running(self) -> bool:
        """Whether a process is there and has said that it serves."""
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
        """End the process, if there is one, so that the next takes up a new configuration."""
        if self._process is not None and self._process.returncode is None:
            self._again = True
            self._process.terminate()

    async def run(self, configure: Callable[[], ManagerConfig], *, must_start: bool) -> None:
        """Start the manager, and again whenever it ends, with growing pauses. ``configure`` gives the configuration of each start.

        Returns when the cluster has removed this manager. Cancel it to stop the process in good order. ``must_start`` is for
        who waits for the first start and wants its error; a node of a cluster tries again instead: the manager of the daemon
        before may still hold the log, or its port.

        Raises:
            UnavailableError: the very first start failed and ``must_start``; the message carries the manager's last words.
            LockedError: its files are locked with a key that the daemon does not know.
        """
        try:
            await self._keep_alive(configure, must_start=must_start)
        finally:
            self.error = ""  # a demoted node has no manager that could be in trouble

    async def _keep_alive(self, configure: Callable[[], ManagerConfig], *, must_start: bool) -> None:
        attempt, first = 0, True
        while True:
            began = asyncio.get_running_loop().time()
            code, words = await self._run_once(configure())
            if code == REMOVED_EXIT_CODE:
                log.info("the group has removed this node's manager")
                return
            if code == LOCKED_EXIT_CODE:
                raise LockedError(words or "this manager's files are locked")
            if self._again:
                self._again = False
                continue
            if must_start and first and words is not None:
                raise UnavailableError(f"the manager did not start: {words}")
            first = False
            if asyncio.get_running_loop().time() - began > STABLE_SECONDS:
                attempt = 0
            pause = RESTART_DELAYS_SECONDS[min(attempt, len(RESTART_DELAYS_SECONDS) - 1)]
            self.error = f"this node's manager ended with code {code}: {words or 'see the log of the daemon'}"
            log.error("%s; it starts again in %g s", self.error, pause)
            attempt += 1
            await asyncio.sleep(pause)

    async def _run_once(self, config: ManagerConfig) -> tuple[int, str | None]:
        """One life: the exit code, and the last words if it never served."""
        public, root_key = without_root_key(config)
        self._write_config(public)
        try:
            lock = await self._lock()
        except TimeoutError:
            return 1, f"the manager of the daemon before has not ended after {STOP_SECONDS:g} s"
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "manager.main",
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
        words: list[str] = []
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send_startup_secrets(process, root_key))
                group.create_task(self._watch_output(process))
                group.create_task(_forward_log(process, words))
                code = await process.wait()
        finally:
            served = self._ready.is_set()
            self._ready.clear()
            await _stop(process)
        return code, None if served else (words[-1] if words else f"exit code {code}")

    async def _lock(self) -> int:
        """A lock that the manager process holds by inheritance until the kernel has ended it. So the one before, whose daemon was
        killed, has given back its log, ports and socket before another takes them; else it would remove the other's socket.

        Raises:
            TimeoutError: it does not end.
        """
        fd = os.open(self._config_path.with_name("manager.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while True:
                    with contextlib.suppress(BlockingIOError):
                        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        return fd
                    await asyncio.sleep(_LOCK_PAUSE_SECONDS)
        except BaseException:
            os.close(fd)
            raise

    async def _send_startup_secrets(self, process: asyncio.subprocess.Process, root_key: bytes) -> None:
        """The pipe stays open: its end means that the daemon is gone."""
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        known = self._vault.startup_secrets if self._vault is not None else StartupSecrets()
        if handed := msgspec.structs.replace(known, root_key=root_key):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has ended, which is seen elsewhere
                process.stdin.write(handed.line())
                await process.stdin.drain()

    async def _watch_output(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        async for line in read_lines(process.stdout):
            if self._vault is not None and (key := parse_unlock_key(line)):
                self._vault.add(key)
            if line.strip() == b"ready":
                self.error = ""
                self.has_served = True
                self._ready.set()

    def _write_config(self, config: ManagerConfig) -> None:
        fd = os.open(self._config_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor with its mode
            file.write(msgspec.json.encode(config))


async def _forward_log(process: asyncio.subprocess.Process, words: list[str]) -> None:
    """The manager's log goes into the daemon's, and its last lines into the error if it never comes up."""
    assert process.stderr is not None  # noqa: S101 - a pipe was asked for
    async for line in read_lines(process.stderr):
        text = line.decode(errors="replace")
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
        if text := text.strip():
            words.append(text)
            del words[:-_ERROR_LINES]


async def _stop(process: asyncio.subprocess.Process) -> None:
    """TERM, so that it hands over leadership, then KILL."""
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
