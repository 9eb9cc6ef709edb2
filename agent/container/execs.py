"""Execs: commands run in running containers, for `docker exec` and for health checks.

Invariant: an exec's record stays until its container is removed, within a bound; its process is under a conmon of its
own, and its exit code is a reply on that conmon's sync pipe. Execs do not survive the daemon: recovery removes their
directories. Called by `agent.container.commands.exec_process` and `agent.container.health_monitor`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent.background_tasks import BackgroundTasks
from agent.container.bundle import BundleBuilder
from agent.container.exit_status import LOST_EXIT_CODE
from agent.container.health import OUTPUT_LIMIT_BYTES
from agent.container.model import ContainerConfig, ExecConfig, ExecState, HealthProbe
from agent.container.paths import ContainerPaths
from agent.container.runtimes import ContainerRuntimes
from agent.runtime import attach, conmon
from agent.runtime.attach import AttachStream
from agent.runtime.conmon_pipes import ConmonPipes
from agent.runtime.errors import OciRuntimeError
from covey.errors import ConflictError, CoveyError, InvalidArgumentError, NotFoundError, UnavailableError

EXEC_LIMIT_PER_CONTAINER = 256
NOT_STARTED_EXIT_CODE = 126

Notify = Callable[[ExecState, str], None]
"""Emits an event of an exec: its state and the action."""


class _ExecInstance:
    """One exec, as Docker calls it an exec instance."""

    __slots__ = ("finished", "state")

    def __init__(self, state: ExecState) -> None:
        self.state = state
        self.finished: asyncio.Future[int] = asyncio.get_running_loop().create_future()


class Execs:
    """All execs of this host."""

    def __init__(
        self,
        paths: ContainerPaths,
        monitor: conmon.Conmon,
        runtimes: ContainerRuntimes,
        tasks: BackgroundTasks,
        bundles: BundleBuilder,
        *,
        notify: Notify,
        with_links: Callable[[ContainerConfig], ContainerConfig],
    ) -> None:
        self._paths = paths
        self._conmon = monitor
        self._runtimes = runtimes
        self._tasks = tasks
        self._bundles = bundles
        self._notify = notify
        self._with_links = with_links
        self._instances: dict[str, _ExecInstance] = {}

    def create(self, container_id: str, config: ExecConfig) -> str:
        """Register an exec and return its id. Drops the oldest finished ones over the bound."""
        mine = [e for e in self._instances.values() if e.state.container_id == container_id]
        finished = [e.state.id for e in mine if e.state.started and not e.state.running]
        for old_id in finished[: max(0, len(mine) - EXEC_LIMIT_PER_CONTAINER + 1)]:
            del self._instances[old_id]
        if len(mine) - len(finished) >= EXEC_LIMIT_PER_CONTAINER:
            raise ConflictError(
                f"container {container_id[:12]} has {EXEC_LIMIT_PER_CONTAINER} unfinished execs: wait until some end"
            )
        exec_id = secrets.token_hex(32)
        self._instances[exec_id] = _ExecInstance(ExecState(id=exec_id, container_id=container_id, config=config))
        return exec_id

    def inspect(self, exec_id: str) -> ExecState:
        return self._get(exec_id).state

    def unfinished_ids(self, container_id: str) -> list[str]:
        """Execs that run or are still to be started, as `docker inspect` lists them."""
        mine = self.list_ids(container_id)
        return [exec_id for exec_id in mine if not self._instances[exec_id].finished.done()]

    def list_ids(self, container_id: str) -> list[str]:
        return [exec_id for exec_id, e in self._instances.items() if e.state.container_id == container_id]

    def remove_all(self, container_id: str) -> None:
        """Forget the execs of a container that has ended or is being removed."""
        for exec_id in self.list_ids(container_id):
            del self._instances[exec_id]

    def resize(self, exec_id: str, height: int, width: int) -> None:
        """Raises NotFoundError for an exec that has ended, as Docker does, and ConflictError for one not started yet."""
        state = self._get(exec_id).state
        if not state.started:
            raise ConflictError(f"exec process {exec_id} is not started: start it before its terminal is resized")
        if not state.running:
            raise NotFoundError("no such exec")
        conmon.resize(self._folder(exec_id), height, width)

    async def start(
        self, exec_id: str, config: ContainerConfig, *, detach: bool, size: tuple[int, int] | None
    ) -> AttachStream | None:
        """Run the exec. Returns the stream of its output, or None if detached: then the output is dropped."""
        instance = self._get(exec_id)
        if instance.state.started:
            progress = "is already running" if instance.state.running else "has already run"
            raise ConflictError(f"Error: Exec command {exec_id} {progress}")
        instance.state = msgspec.structs.replace(instance.state, started=True)
        stream = None if detach else AttachStream(lambda: asyncio.shield(instance.finished))
        pipes = ConmonPipes()
        try:
            pid = await self._launch(instance, config, pipes, stream, size)
        except BaseException as error:
            pipes.close()
            if stream is not None:
                await stream.close()
            self._finish(instance, _start_exit_code(error))
            if isinstance(error, (EOFError, OciRuntimeError)):
                reason = str(error).removeprefix("exec failed: ")
                message = f"OCI runtime exec failed: exec failed: {reason}"
                if isinstance(error, OciRuntimeError) and error.exit_code in {126, 127}:
                    raise InvalidArgumentError(message) from None
                raise OciRuntimeError(message) from None
            raise
        instance.state = msgspec.structs.replace(instance.state, running=True, pid=pid)
        self._notify(instance.state, "exec_start")
        if self._tasks.spawn(self._wait_for_exit(instance, pipes), f"exec {exec_id[:12]}") is None:
            pipes.close()
            raise UnavailableError("the daemon is shutting down: try again")
        return stream

    async def probe(
        self,
        config: ContainerConfig,
        exec_config: ExecConfig,
        timeout_seconds: float,
        name: str = "Health check",
    ) -> HealthProbe:
        """Run a health check or another command to its end, or kill it after the timeout. Exit code 0 means success."""
        start_ns = time.time_ns()
        exec_id = self.create(config.id, exec_config)
        output = bytearray()
        code, stream = -1, None
        try:
            async with asyncio.timeout(timeout_seconds):
                stream = await self.start(exec_id, config, detach=False, size=None)
                if stream is not None:
                    while (packet := await stream.read()) is not None:
                        output += packet[1][: OUTPUT_LIMIT_BYTES - len(output)]
                    code = await stream.wait()
        except TimeoutError:
            output[:] = f"{name} exceeded timeout ({timeout_seconds:g}s)".encode()
            self._kill_probe(exec_id)
        except (OciRuntimeError, InvalidArgumentError) as error:
            output[:] = error.message.encode()[:OUTPUT_LIMIT_BYTES]
        finally:
            if stream is not None:
                await stream.close()
            self._instances.pop(exec_id, None)
        return HealthProbe(start_ns, time.time_ns(), code, output.decode(errors="replace"))

    async def _launch(
        self,
        instance: _ExecInstance,
        config: ContainerConfig,
        pipes: ConmonPipes,
        stream: AttachStream | None,
        size: tuple[int, int] | None,
    ) -> int:
        exec_config, folder = instance.state.config, self._folder(instance.state.id)
        folder.mkdir(mode=0o700, parents=True)
        (folder / "process.json").write_text(
            json.dumps(self._bundles.exec_process(self._with_links(config), exec_config))
        )

        async def connect() -> None:
            if stream is not None:
                stream.set_socket(await attach.connect_attach(folder))
            if size is not None:
                conmon.resize(folder, *size)

        return await self._conmon.start_exec(
            config.id,
            config.name,
            folder,
            pipes,
            runtime=self._runtimes.of(config.id),
            terminal=exec_config.tty,
            stdin=exec_config.attach_stdin,
            on_attachable=None if stream is None else connect,
        )

    async def _wait_for_exit(self, instance: _ExecInstance, pipes: ConmonPipes) -> None:
        code = LOST_EXIT_CODE
        try:
            with contextlib.suppress(EOFError):
                code, _ = await pipes.read_reply(None)
        finally:
            pipes.close()
            self._finish(instance, code)

    def _finish(self, instance: _ExecInstance, code: int) -> None:
        was_running = instance.state.running
        instance.state = msgspec.structs.replace(instance.state, running=False, exit_code=code)
        if not instance.finished.done():
            instance.finished.set_result(code)
        shutil.rmtree(self._folder(instance.state.id), ignore_errors=True)
        if was_running:
            self._notify(instance.state, "exec_die")

    def _kill_probe(self, exec_id: str) -> None:
        """Kill the process of a health check, unless the container has ended with it."""
        instance = self._instances.get(exec_id)
        if instance is not None and instance.state.running and instance.state.pid > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(instance.state.pid, signal.SIGKILL)

    def _folder(self, exec_id: str) -> Path:
        return self._paths.execs / exec_id

    def _get(self, exec_id: str) -> _ExecInstance:
        instance = self._instances.get(exec_id)
        if instance is None:
            raise NotFoundError(f"No such exec instance: {exec_id}")
        return instance


def _start_exit_code(error: BaseException) -> int:
    """The exit code of an exec that did not start, as Docker reports it."""
    if isinstance(error, OciRuntimeError):
        return error.exit_code
    return NOT_STARTED_EXIT_CODE if isinstance(error, CoveyError) else LOST_EXIT_CODE
