"""Where a tar goes: a pipe to the daemon, or straight to a client's socket as the body of a chunked HTTP response.

Runs in the worker process. Invariant: file contents do not pass through this process's memory; the kernel moves them.
"""

import os
import select
from typing import Protocol

from covey.errors import DeadlineError

IDLE_MILLISECONDS = 120_000
_ZEROS = bytes(1 << 16)
_CHUNK_BYTES = 8 << 20


class Sink(Protocol):
    """`send` moves exactly `size` bytes of an open file, with zeros for what the file has lost meanwhile."""

    def write(self, data: bytes) -> None: ...
    def send(self, content: int, size: int) -> None: ...
    def end(self) -> None: ...


class DescriptorSink:
    """A pipe or a file."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def send(self, content: int, size: int) -> None:
        while size:
            sent = os.sendfile(self._fd, content, None, min(size, _CHUNK_BYTES))
            if not sent:
                self.write(_ZEROS[:size])
                sent = min(size, len(_ZEROS))
            size -= sent

    def end(self) -> None:
        """Nothing: the reader sees the end of the pipe."""


class ChunkedSocketSink:
    """A socket that does not block. Each write is a chunk of HTTP's chunked transfer coding."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def write(self, data: bytes) -> None:
        if data:
            self._send_all(b"%x\r\n%b\r\n" % (len(data), data))

    def send(self, content: int, size: int) -> None:
        while size:
            part = min(size, _CHUNK_BYTES)
            self._send_all(b"%x\r\n" % part)
            self._send_part(content, part)
            self._send_all(b"\r\n")
            size -= part

    def end(self) -> None:
        self._send_all(b"0\r\n\r\n")

    def _send_part(self, content: int, size: int) -> None:
        while size:
            try:
                sent = os.sendfile(self._fd, content, None, size)
            except BlockingIOError:
                self._wait()
                continue
            if not sent:
                self._send_all(_ZEROS[:size])
                sent = min(size, len(_ZEROS))
            size -= sent

    def _send_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                self._wait()

    def _wait(self) -> None:
        if not self._poll.poll(IDLE_MILLISECONDS):
            raise DeadlineError("the client took nothing of the archive for too long")
