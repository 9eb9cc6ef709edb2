"""Commands run in running containers.

Law: an exec lives no longer than this daemon's interest in it; its record stays until its container goes, within a
bound. Its exit code comes
over conmon's sync pipe. Callers: `ContainerService` (the Engine API's execs and the health checks).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from agent.background_tasks import BackgroundTasks
from agent.container.health import OUTPUT_LIMIT_BYTES
from agent.container.model import ContainerConfig, ExecConfig, ExecState, HealthProbe
from agent.container.paths import ContainerPaths
from agent.runtime import attach, conmon
from agent.runtime.attach import AttachStream
from covey.errors import ConflictError, NotFoundError, UnavailableError

EXEC_LIMIT_PER_CONTAINER = 256
_LOST_EXIT_CODE = 137

ProcessDocument = Callable[[ContainerConfig, ExecConfig], dict[str, Any]]
Notify = Callable[[ExecState, str], None]


class _ExecInstance:
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
        nursery: BackgroundTasks,
        document: ProcessDocument,
        notify: Notify,
    ) -> None:
        self._paths = paths
        self._monitor = monitor
        self._nursery = nursery
        self._document = document
        self._notify = notify
        self._execs: dict[str, _ExecInstance] = {}

    def create(self, container_id: str, config: ExecConfig) -> str:
        mine = [e for e in self._execs.values() if e.state.container_id == container_id]
        finished = [e.state.id for e in mine if e.state.started and not e.state.running]
        for old in finished[: max(0, len(mine) - EXEC_LIMIT_PER_CONTAINER + 1)]:
            del self._execs[old]
        if len(mine) - len(finished) >= EXEC_LIMIT_PER_CONTAINER:
            raise ConflictError(
                f"container {container_id[:12]} has {EXEC_LIMIT_PER_CONTAINER} execs already: wait for some"
            )
        exec_id = secrets.token_hex(32)
        self._execs[exec_id] = _ExecInstance(ExecState(id=exec_id, container_id=container_id, config=config))
        return exec_id

    def inspect(self, exec_id: str) -> ExecState:
        return self._get(exec_id).state

    def list_ids(self, container_id: str) -> list[str]:
        return [i for i, e in self._execs.items() if e.state.container_id == container_id]

    def remove_all(self, container_id: str) -> None:
        for exec_id in self.list_ids(container_id):
            del self._execs[exec_id]

    def resize(self, exec_id: str, height: int, width: int) -> None:
        self._get(exec_id)
        conmon.resize(self._folder(exec_id), height, width)

    async def start(
        self, exec_id: str, config: ContainerConfig, *, detach: bool, size: tuple[int, int] | None
    ) -> AttachStream | None:
        """Run it. The stream reads its output until it ends; detached, its output is dropped."""
        held = self._get(exec_id)
        if held.state.started:
            raise ConflictError(f"exec {exec_id[:12]} was started already: create another")
        held.state = msgspec.structs.replace(held.state, started=True)
        stream = None if detach else AttachStream(lambda: asyncio.shield(held.finished))
        pipe = conmon.ConmonPipes()
        try:
            pid = await self._launch(held, config, pipe, stream, size)
        except BaseException as error:
            pipe.close()
            await self._fail(held, stream, error)
            if isinstance(error, (EOFError, conmon.OciRuntimeError)):
                raise conmon.OciRuntimeError(f"OCI runtime exec failed: exec failed: {error}") from None
            raise
        held.state = msgspec.structs.replace(held.state, running=True, pid=pid)
        self._notify(held.state, "exec_start")
        if self._nursery.spawn(self._await_end(held, pipe), f"exec {exec_id[:12]}") is None:
            pipe.close()
            raise UnavailableError("the daemon is shutting down: try again")
        return stream

    async def probe(self, config: ContainerConfig, wanted: ExecConfig, timeout_seconds: float) -> HealthProbe:
        """Run a health check to its end, or kill it at its deadline; exit code 0 is healthy."""
        start = time.time_ns()
        exec_id = self.create(config.id, wanted)
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
            output[:] = f"Health check exceeded timeout ({timeout_seconds:g}s)".encode()
            state = self.inspect(exec_id)
            if state.running and state.pid > 0:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(state.pid, 9)
        except conmon.OciRuntimeError as error:
            output[:] = error.message.encode()[:OUTPUT_LIMIT_BYTES]
        finally:
            if stream is not None:
                await stream.close()
            self._execs.pop(exec_id, None)
        return HealthProbe(start, time.time_ns(), code, output.decode(errors="replace"))

    async def _launch(
        self,
        held: _ExecInstance,
        config: ContainerConfig,
        pipe: conmon.ConmonPipes,
        stream: AttachStream | None,
        size: tuple[int, int] | None,
    ) -> int:
        wanted, folder = held.state.config, self._folder(held.state.id)
        (folder / "exits").mkdir(mode=0o700, parents=True)
        (folder / "process.json").write_text(json.dumps(self._document(config, wanted)))
        arguments = [
            *self._monitor.arguments(config.id, config.name, folder, folder / "exits"),
            "--log-path=k8s-file:/dev/null",
            "--exec",
            f"--exec-process-spec={folder}/process.json",
            *(["--terminal"] if wanted.tty else []),
            *(["--stdin"] if wanted.attach_stdin else []),
            *(["--exec-attach"] if stream is not None else []),
        ]
        await conmon.launch(arguments, pipe, folder, attach=stream is not None)
        if stream is not None:
            answer, message = await pipe.read_reply(conmon.CREATE_TIMEOUT_SECONDS)
            if answer < 0:
                raise conmon.OciRuntimeError(conmon.clean_message(message))
            stream.set_socket(await attach.connect_attach(folder))
            if size is not None:
                conmon.resize(folder, *size)
            pipe.release()
        pid, message = await pipe.read_reply(conmon.CREATE_TIMEOUT_SECONDS)
        if pid < 0:
            raise conmon.OciRuntimeError(conmon.clean_message(message))
        return pid

    async def _await_end(self, held: _ExecInstance, pipe: conmon.ConmonPipes) -> None:
        code = _LOST_EXIT_CODE
        try:
            with contextlib.suppress(EOFError):
                code, _ = await pipe.read_reply(None)
        finally:
            pipe.close()
            self._finish(held, code)

    async def _fail(self, held: _ExecInstance, stream: AttachStream | None, error: BaseException) -> None:
        if stream is not None:
            await stream.close()
        self._finish(held, error.exit_code if isinstance(error, conmon.OciRuntimeError) else _LOST_EXIT_CODE)

    def _finish(self, held: _ExecInstance, code: int) -> None:
        was_running = held.state.running
        held.state = msgspec.structs.replace(held.state, running=False, exit_code=code)
        if not held.finished.done():
            held.finished.set_result(code)
        shutil.rmtree(self._folder(held.state.id), ignore_errors=True)
        if was_running:
            self._notify(held.state, "exec_die")

    def _folder(self, exec_id: str) -> Path:
        return self._paths.execs / exec_id

    def _get(self, exec_id: str) -> _ExecInstance:
        held = self._execs.get(exec_id)
        if held is None:
            raise NotFoundError(f"No such exec instance: {exec_id}")
        return held
