"""Runs the worker process for container files: sends it a request and a tar, and gives its answers and its tar.

Invariant: a cancelled call, and a reader that leaves, kill the process and wait for it.
Invariant: a peer that sends or takes nothing for `IDLE_SECONDS` ends the call.

Called by `agent.container.commands` and `agent.image.store`. The process itself is `agent.filesystem.worker`.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from agent.filesystem.pipes import enlarge_pipe
from agent.filesystem.protocol import FileChange, FileMessage, FileRequest, encode
from covey import errors
from covey.task_group import TaskGroup

CHUNK_BYTES = 1 << 18
IDLE_SECONDS = 120.0
EXIT_SECONDS = 30.0
CLEAN_UP_SECONDS = 5.0
WORK_SECONDS = 3600.0
_BUFFER_BYTES = 4 << 20
_STDERR_BYTES = 2000

T = TypeVar("T")


class FileProcess:
    """A running worker. Read its messages with `next_message`, and its tar with `chunks`."""

    def __init__(self, process: asyncio.subprocess.Process, stdin: asyncio.StreamWriter | None) -> None:
        self._process = process
        self._stdin = stdin
        self._noise = ""

    async def next_message(self) -> FileMessage:
        """The next answer. Raises the CoveyError that the worker reported, or one that it ended early."""
        stderr = self._process.stderr
        while stderr is not None and (line := await _within(WORK_SECONDS, stderr.readline())):
            try:
                message = msgspec.json.decode(line, type=FileMessage)
            except msgspec.MsgspecError:
                self._noise = (self._noise + line.decode(errors="replace"))[-_STDERR_BYTES:]
                continue
            if message.error:
                raise getattr(errors, message.error_kind, errors.CoveyError)(message.error)
            return message
        await _within(EXIT_SECONDS, self._process.wait())
        reason = self._noise.strip() or "no message"
        raise errors.CoveyError(f"the file process ended early with status {self._process.returncode}: {reason}")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The tar that the worker writes. Raises its error if the tar is not complete."""
        stdout = self._process.stdout
        while stdout is not None and (data := await _within(IDLE_SECONDS, stdout.read(CHUNK_BYTES))):
            yield data
        await self.result()

    async def send_to_socket(self) -> None:
        """Let the worker write the tar to the socket of its request, and wait for the end. Raises its error."""
        if self._stdin is not None:
            self._stdin.write(b"\n")
        await self.result()

    async def feed(self, source: AsyncIterator[bytes]) -> None:
        """Write a tar to the worker, and close its input. Returns early if the worker takes no more of it. Raises the source's error."""
        stdin = self._stdin
        if stdin is None:
            return
        try:
            async for data in source:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    for part in _parts(data):  # what does not fit into the pipe is copied, so it should be little
                        stdin.write(part)
                        if stdin.transport.get_write_buffer_size():
                            await _within(IDLE_SECONDS, stdin.drain())
                    continue
                return
        finally:
            stdin.close()

    async def result(self) -> FileMessage:
        """The last answer, after which the worker ends, with the changes of all answers."""
        changes: list[FileChange] = []
        while not (message := await self.next_message()).done:
            changes += message.changes
        if changes:
            message = message._replace(changes=(*changes, *message.changes))
        await self.wait()
        return message

    async def wait(self) -> None:
        """Wait for the end of the process."""
        await _within(EXIT_SECONDS, self._process.wait())


@asynccontextmanager
async def file_process(request: FileRequest, *, takes_input: bool = False) -> AsyncIterator[FileProcess]:
    """Start a worker for one request; it is killed at the end of the block if it still runs."""
    text = os.memfd_create("covey-file-request")
    read_end, stdin = (
        await _open_pipe() if takes_input or request.socket_fd >= 0 else (asyncio.subprocess.DEVNULL, None)
    )
    try:
        os.write(text, encode(request))
        passed = [text, *(fd for fd in (request.root_fd, request.socket_fd) if fd >= 0)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent.filesystem.worker", str(text),
            stdin=read_end, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            limit=_BUFFER_BYTES, pass_fds=passed, cwd=Path(__file__).parents[2],
        )  # fmt: skip
    except BaseException:
        if stdin is not None:
            stdin.close()
        raise
    finally:
        os.close(text)
        if read_end >= 0:
            os.close(read_end)
    try:
        yield FileProcess(process, stdin)
    finally:
        if stdin is not None:
            stdin.close()
            if process.returncode is None:
                # the end of its input makes the worker remove a file that it has only a part of
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(process.wait()), CLEAN_UP_SECONDS)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())


async def _open_pipe() -> tuple[int, asyncio.StreamWriter]:
    """A pipe of a megabyte: its read end, and a writer. asyncio itself would take a socket, which is slower."""
    read_end, write_end = os.pipe()
    try:
        enlarge_pipe(write_end)
        loop = asyncio.get_running_loop()
        file = os.fdopen(write_end, "wb", buffering=0)
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, file)
    except BaseException:
        os.close(read_end)
        raise
    return read_end, asyncio.StreamWriter(transport, protocol, None, loop)


async def call(request: FileRequest) -> FileMessage:
    """Serve a request without a tar. Raises its error."""
    async with file_process(request) as worker:
        return await worker.result()


async def write(request: FileRequest, source: AsyncIterator[bytes]) -> None:
    """Unpack a tar. Raises the worker's error, or the source's if that broke off."""
    async with file_process(request, takes_input=True) as worker:
        try:
            async with TaskGroup() as group:
                feeder = group.create_task(_feed(worker, source))
                await worker.result()
                feeder.cancel()  # a worker that has its answer reads no more
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None


async def _feed(worker: FileProcess, source: AsyncIterator[bytes]) -> None:
    """Feed the worker. If the source breaks off, let the worker remove the file that it has only a part of."""
    try:
        await worker.feed(source)
    except Exception:
        with contextlib.suppress(errors.CoveyError):
            await worker.wait()
        raise


def _parts(data: bytes) -> Iterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(view), CHUNK_BYTES):
        yield view[start : start + CHUNK_BYTES]


async def _within(seconds: float, work: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise errors.DeadlineError(f"no progress with the container's files within {seconds:g} s") from None
