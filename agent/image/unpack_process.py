"""Runs the image unpack process: sends it an archive, reports its progress, and returns its result or raises its error.

Invariant: a cancelled call kills the process and waits for it.

Called by `agent.image.store`. The process itself is `agent.image.unpack_worker`.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec

from agent.image.model import UnpackProgress
from agent.image.unpack_protocol import UnpackMessage, UnpackRequest
from covey import errors

ANSWER_LIMIT_BYTES = 16 << 20
EXIT_SECONDS = 30

Source = AsyncIterator[bytes] | Path


async def unpack(request: UnpackRequest, source: Source, progress: Callable[[UnpackProgress], None]) -> UnpackMessage:
    """Carry the request out. Raises the CoveyError that the process reported, or one that says that it died."""
    staging = Path(request.staging)
    request_path = staging / "request.json"
    request_path.write_bytes(msgspec.json.encode(request))
    with _opened(source) as standard_input, (staging / "stderr").open("w+b") as standard_error:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent.image.unpack_worker", str(request_path),
            stdin=standard_input, stdout=asyncio.subprocess.PIPE, stderr=standard_error,
            limit=ANSWER_LIMIT_BYTES, cwd=_root(),
        )  # fmt: skip
        try:
            async with asyncio.TaskGroup() as group:
                feeding = None if isinstance(source, Path) else group.create_task(_feed(process, source))
                answer = await _answers(process, progress)
                if feeding is not None:
                    feeding.cancel()  # a process that has refused the archive waits for no more of it
            await asyncio.wait_for(process.wait(), EXIT_SECONDS)
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if answer is None:
            standard_error.seek(0)
            told = standard_error.read()[-500:].decode(errors="replace").strip()
            raise errors.CoveyError(f"unpacking ended early with status {process.returncode}: {told or 'no message'}")
    if answer.error:
        kind = getattr(errors, answer.error_kind, errors.CoveyError)
        raise kind(answer.error)
    return answer


async def _feed(process: asyncio.subprocess.Process, source: AsyncIterator[bytes]) -> None:
    """Write the archive. A process that has seen enough closes its end; it says why in its answer."""
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        async for chunk in source:
            process.stdin.write(chunk)
            await process.stdin.drain()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.close()
        await process.stdin.wait_closed()


async def _answers(
    process: asyncio.subprocess.Process, progress: Callable[[UnpackProgress], None]
) -> UnpackMessage | None:
    if process.stdout is None:
        return None
    last = None
    async for line in process.stdout:
        answer = msgspec.json.decode(line, type=UnpackMessage)
        if answer.done or answer.error:
            last = answer
        else:
            progress(UnpackProgress(answer.step, answer.id, answer.current))
    return last


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[int]:
    if isinstance(source, Path):
        with source.open("rb") as opened:
            yield opened.fileno()
    else:
        yield asyncio.subprocess.PIPE


def _root() -> Path:
    """The folder that holds the package, so that the process finds it however the daemon was started."""
    return Path(__file__).parent.parent.parent
