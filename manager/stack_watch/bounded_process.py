"""A child process with bounds: deadline, memory, size of the files that it writes. It ends with the caller.

Invariant: the manager never forks, because a fork of a process that uses gRPC breaks its TLS connections: ``subprocess`` uses vfork, where
uvloop forks.
"""

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from covey.errors import DeadlineError, UnavailableError
from covey.pidfd import wait_pidfd

GRACE_SECONDS = 2.0
MAX_OUTPUT_BYTES = 64 * 1024
_PIPE_BYTES = 1 << 20


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a process and its children: seconds until it is ended, bytes of memory, and bytes of a file that it writes."""

    seconds: float
    memory_bytes: int
    file_bytes: int


class Finished(msgspec.Struct, frozen=True):
    """The exit code of a process and the beginning of what it wrote."""

    code: int
    output: str
    errors: str


async def run_bounded(
    command: Sequence[str], environment: Mapping[str, str], limits: Limits, stdin: bytes = b""
) -> Finished:
    """Run a command. Its standard input stays open until it ends, so that it can tell when the caller died.

    Raises:
        DeadlineError: it did not end in time; UnavailableError: it cannot be started.
    """
    with _memory_file("output") as output, _memory_file("errors") as errors, _filled_pipe(stdin) as source:
        async with _started(command, environment, limits, (source, output, errors)) as process:
            pidfd = os.pidfd_open(process.pid)
            try:
                async with asyncio.timeout(limits.seconds):
                    await wait_pidfd(pidfd)
            except TimeoutError:
                raise DeadlineError(f"{command[0]} did not end within {limits.seconds:g} s") from None
            finally:
                os.close(pidfd)
            return Finished(process.wait(), _content(output), _content(errors))


@asynccontextmanager
async def _started(
    command: Sequence[str], environment: Mapping[str, str], limits: Limits, files: tuple[int, int, int]
) -> AsyncIterator[subprocess.Popen[bytes]]:
    stdin, stdout, stderr = files
    try:
        process = subprocess.Popen(  # noqa: ASYNC220 - vfork and exec: about a millisecond
            command, stdin=stdin, stdout=stdout, stderr=stderr, env=environment, cwd="/", start_new_session=True
        )
    except FileNotFoundError:
        raise UnavailableError(f"{command[0]} is not installed on this manager: install it on every manager") from None
    except OSError as error:
        raise UnavailableError(f"{command[0]} cannot be started: {error.strerror}") from error
    try:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(process.pid, resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
            resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
        yield process
    finally:
        if process.poll() is None:
            await asyncio.shield(_end(process))


async def _end(process: subprocess.Popen[bytes]) -> None:
    """TERM, so that it ends its own children, then KILL for its session."""
    pidfd = os.pidfd_open(process.pid)
    try:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await wait_pidfd(pidfd)
    finally:
        os.close(pidfd)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def _memory_file(name: str) -> Iterator[int]:
    file = os.memfd_create(f"covey-{name}")
    try:
        yield file
    finally:
        os.close(file)


@contextlib.contextmanager
def _filled_pipe(content: bytes) -> Iterator[int]:
    """The end to read of a pipe with this content; the other end stays open."""
    source, sink = os.pipe()
    try:
        fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(sink, False)
        os.write(sink, content)
        yield source
    finally:
        os.close(source)
        os.close(sink)


def _content(file: int) -> str:
    return os.pread(file, MAX_OUTPUT_BYTES, 0).decode(errors="replace")
