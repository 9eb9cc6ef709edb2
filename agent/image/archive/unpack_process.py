"""Runs the image unpack process: sends it an archive, reports its progress, and returns its result or raises its error.

Invariant: a cancelled call kills the process and waits for it.

Called by `agent.image.store`. The process itself is `agent.image.archive.unpack_worker`.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec

from agent.image.archive.unpack_protocol import UnpackMessage, UnpackRequest
from agent.image.model import Progress
from covey import errors
from covey.task_group import TaskGroup

ANSWER_LIMIT_BYTES = 16 << 20
EXIT_SECONDS = 30

Source = AsyncIterator[bytes] | Path


async def unpack(request: UnpackRequest, source: Source, progress: Callable[[Progress], None]) -> UnpackMessage:
    """Unpack the archive. Raises the CoveyError that the process reported, or one that it ended early."""
    staging = Path(request.staging)
    request_path = staging / "request.json"
    request_path.write_bytes(msgspec.json.encode(request))
    with _opened(source) as standard_input, (staging / "stderr").open("w+b") as standard_error:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent.image.archive.unpack_worker", str(request_path),
            stdin=standard_input, stdout=asyncio.subprocess.PIPE, stderr=standard_error,
            limit=ANSWER_LIMIT_BYTES, cwd=_root(),
        )  # fmt: skip
        try:
            async with TaskGroup() as group:
                feeder = None if isinstance(source, Path) else group.create_task(_feed(process, source))
                result = await _read_messages(process, progress)
                if feeder is not None:
                    feeder.cancel()  # a process that refused the archive does not read the rest
            await asyncio.wait_for(process.wait(), EXIT_SECONDS)
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if result is None:
            standard_error.seek(0)
            message = standard_error.read()[-500:].decode(errors="replace").strip()
            raise errors.CoveyError(
                f"the unpack process ended early with status {process.returncode}: {message or 'no message'}"
            )
    if result.error:
        kind = getattr(errors, result.error_kind, errors.CoveyError)
        raise kind(result.error)
    return result


async def _feed(process: asyncio.subprocess.Process, source: AsyncIterator[bytes]) -> None:
    """Write the archive to stdin. A process that refuses the rest closes stdin and reports why."""
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        async for chunk in source:
            process.stdin.write(chunk)
            await process.stdin.drain()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.close()
        # shielded, because asyncio fails to note the end of a pipe whose waiter was cancelled
        await asyncio.shield(process.stdin.wait_closed())


async def _read_messages(
    process: asyncio.subprocess.Process, progress: Callable[[Progress], None]
) -> UnpackMessage | None:
    if process.stdout is None:
        return None
    last = None
    async for line in process.stdout:
        message = msgspec.json.decode(line, type=UnpackMessage)
        if message.done or message.error:
            last = message
        else:
            report_layer(message, progress)
    return last


def report_layer(message: UnpackMessage, progress: Callable[[Progress], None]) -> None:
    """Report a layer that is being unpacked, in Docker's words. Layers that exist are not reported."""
    if message.step == "unpack":
        short = message.id.removeprefix("sha256:")[:12]
        progress(Progress("Loading layer", short, message.current, message.total))


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[int]:
    if isinstance(source, Path):
        with source.open("rb") as opened:
            yield opened.fileno()
    else:
        yield asyncio.subprocess.PIPE


def _root() -> Path:
    """The folder that contains the package, so that the process finds it however the daemon was started."""
    return Path(__file__).parents[3]
