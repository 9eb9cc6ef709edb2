"""Start and sync pipes between this daemon and conmon.

Protocol: a byte on the start pipe lets conmon take its next step. conmon answers with one JSON line per step on the sync
pipe: {"data": N}, where N is a pid or an exit code, or negative with a "message". Called by `agent.runtime.conmon` and,
for the exit code of an exec, by `agent.container.execs`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os

from agent.runtime.errors import OciRuntimeError
from covey.errors import DeadlineError

_LINE_LIMIT_BYTES = 64 << 10


class ConmonPipes:
    """The daemon's ends of both pipes, and conmon's until it has inherited them."""

    def __init__(self) -> None:
        self.sync, self._sync_child = os.pipe2(os.O_CLOEXEC)
        self._start_child, self._start = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.sync, False)
        self._buffer = b""

    @property
    def children(self) -> tuple[int, int]:
        """The descriptors that conmon inherits: sync, start."""
        return self._sync_child, self._start_child

    def release(self) -> None:
        """Let conmon take its next step."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._start, b"\0")

    def close_children(self) -> None:
        """Close conmon's ends, so that its exit is an end of file here."""
        for fd in (self._sync_child, self._start_child):
            if fd >= 0:
                os.close(fd)
        self._sync_child = self._start_child = -1

    async def read_reply(self, timeout_seconds: float | None) -> tuple[int, str]:
        """The number and message of the next reply. EOFError if conmon ended without one."""
        line = await self._read_line(timeout_seconds)
        try:
            reply = json.loads(line)
            return int(reply["data"]), str(reply.get("message", ""))
        except (ValueError, KeyError, TypeError):
            raise OciRuntimeError(f"conmon sent an invalid reply: {line!r}") from None

    def close(self) -> None:
        self.close_children()
        for fd in (self.sync, self._start):
            if fd >= 0:
                os.close(fd)
        self.sync = self._start = -1

    async def _read_line(self, timeout_seconds: float | None) -> bytes:
        try:
            async with asyncio.timeout(timeout_seconds):
                while b"\n" not in self._buffer:
                    await _wait_readable(self.sync)
                    with contextlib.suppress(BlockingIOError):
                        data = os.read(self.sync, 4096)
                        if not data:
                            raise EOFError("conmon ended without a reply")
                        self._buffer += data
                        if len(self._buffer) > _LINE_LIMIT_BYTES:
                            raise OciRuntimeError("conmon sent a reply of more than 64 KiB")
        except TimeoutError:
            raise DeadlineError(f"conmon did not reply within {timeout_seconds:g} s") from None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


async def _wait_readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, wake)
    try:
        await ready
    finally:
        loop.remove_reader(fd)
