"""Runs buildah. Each call has a process and a mount namespace of its own.

Invariant: a cancelled call leaves no process, not even of a container: the kernel ends the process namespace with its first process.
Invariant: output is read as fast as the reader of it takes it, so none is buffered without bound.
"""

import asyncio
import codecs
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from agent.build.storage import BuildStorage
from covey.errors import CoveyError, DeadlineError, UnsupportedError

BUILD_SECONDS = 24 * 3600.0
CALL_SECONDS = 1800.0
_READ_BYTES = 1 << 15
_KEPT_BYTES = 1 << 20
_NAMESPACES = (
    "setpriv", "--pdeathsig", "KILL",  # a daemon that is killed takes its builds with it
    "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc",
)  # fmt: skip


class RunningBuildah:
    """A running process whose output is read piece by piece."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def output(self) -> AsyncIterator[str]:
        """What it prints, on both of its streams, as it comes."""
        stdout = self._process.stdout
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while stdout is not None and (data := await stdout.read(_READ_BYTES)):
            yield decoder.decode(data)
        yield decoder.decode(b"", final=True)

    async def status(self) -> int:
        """Its exit status."""
        return await self._process.wait()


class Buildah:
    """The program on this host, with the storage of this daemon."""

    def __init__(self, storage: BuildStorage) -> None:
        self._storage = storage

    def require(self) -> None:
        """Raises UnsupportedError where a program for builds is not installed."""
        for program, package in (("buildah", "buildah"), ("runc", "runc"), ("unshare", "util-linux")):
            if shutil.which(program) is None:
                raise UnsupportedError(
                    f"this host cannot build images: the program {program} is not installed; install the package {package}"
                )

    @asynccontextmanager
    async def running(self, arguments: Sequence[str], folder: Path) -> AsyncIterator[RunningBuildah]:
        """Start buildah in a folder, which also has its temporary files. It is killed at the end of the block if it still runs."""
        process = await asyncio.create_subprocess_exec(
            *_NAMESPACES, "buildah", *self._storage.options, *arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            cwd=folder, env=self._storage.environment(folder), start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(BUILD_SECONDS):
                yield RunningBuildah(process)
        except TimeoutError:
            raise DeadlineError(f"the build did not end within {BUILD_SECONDS:g} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await asyncio.shield(process.wait())

    async def call(self, arguments: Sequence[str], folder: Path) -> str:
        """Run buildah to its end. Returns its output. Raises CoveyError with it if it fails."""
        text = ""
        async with asyncio.timeout(CALL_SECONDS), self.running(arguments, folder) as process:
            async for piece in process.output():
                text = (text + piece)[-_KEPT_BYTES:]
            status = await process.status()
        if status:
            lines = text.strip().splitlines()
            raise CoveyError(f"buildah {arguments[0]} failed: {lines[-1] if lines else f'status {status}'}")
        return text
