"""Interactive session over a hijacked connection (``exec``, ``attach``): connects stdin, stdout, stderr and the terminal.

Invariant: the terminal modes are restored in every case. One thread and one ``select`` serve all streams; at most one read is buffered.
"""

import os
import select
import signal
import socket
import sys
import termios
import tty as terminal_modes
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from cli.connection import Connection, has_pending
from cli.terminal.multiplexed import MULTIPLEXED, STDERR, read_frames
from covey.detach_keys import DetachKeyMatcher, parse
from covey.errors import CoveyError

READ_BYTES = 1 << 16
Resize = Callable[[int, int], Any]


class TerminalSession:
    """A context manager: ``with TerminalSession(...) as session: session.run(resize)``."""

    def __init__(self, stream: Connection, kind: str, *, tty: bool, stdin: bool, detach_keys: str = "") -> None:
        self._stream = stream
        self._framed = kind == MULTIPLEXED or not tty
        self._stdin = stdin and sys.stdin is not None
        self._raw = tty and self._stdin and sys.stdin.isatty()
        self._keys = DetachKeyMatcher(parse(detach_keys)) if tty else None
        self._detached = False
        self._tty = tty
        self._pending_input = b""
        self._saved_modes: list[Any] | None = None
        self._wake_read, self._wake_write = os.pipe()
        self._old_handler: Any = None

    def __enter__(self) -> Self:
        os.set_blocking(self._wake_write, False)
        if self._raw:
            self._saved_modes = termios.tcgetattr(sys.stdin.fileno())
            terminal_modes.setraw(sys.stdin.fileno(), termios.TCSADRAIN)  # what was typed before is input too
        if self._tty:
            self._old_handler = signal.signal(signal.SIGWINCH, self._on_resize)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        if self._saved_modes is not None:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._saved_modes)
        if self._old_handler is not None:
            signal.signal(signal.SIGWINCH, self._old_handler)
        self._stream.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def run(self, resize: Resize) -> bool:
        """Copy data in both directions until the daemon closes the connection. Returns whether the user detached."""
        if self._tty:
            self._resize(resize)
        out = {True: sys.stderr.buffer, False: sys.stdout.buffer}
        received = self._receive(resize)
        for stream, data in read_frames(received) if self._framed else ((1, data) for data in received):
            target = out[stream == STDERR]
            target.write(data)
            target.flush()
        return self._detached

    def _receive(self, resize: Resize) -> Any:
        """Data from the process. Input from stdin is sent to it meanwhile."""
        stdin = self._stdin
        while True:
            watched: list[Any] = [self._stream, self._wake_read]
            if stdin and not self._pending_input:
                watched.append(sys.stdin.fileno())
            at_once = 0 if has_pending(self._stream) else None
            ready, writable, _ = select.select(watched, [self._stream] if self._pending_input else [], [], at_once)
            if writable:
                stdin = self._send()
            if self._wake_read in ready:
                os.read(self._wake_read, READ_BYTES)
                self._resize(resize)
            if self._stream in ready or at_once == 0:
                data = self._read_output()
                if data == b"":
                    return
                if data:
                    yield data
            if stdin and sys.stdin.fileno() in ready:
                stdin = self._read_input()
                if self._detached:
                    return

    def _read_output(self) -> bytes | None:
        """What has arrived, empty at the end; None for a part of an encrypted record."""
        try:
            return self._stream.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            return b""

    def _read_input(self) -> bool:
        """Read input from stdin. False at its end."""
        data = os.read(sys.stdin.fileno(), READ_BYTES)
        if not data:
            self._end_input()
            return False
        if self._keys:
            data, self._detached = self._keys.feed(data)
        self._pending_input = data
        return True

    def _send(self) -> bool:
        """Send pending input without blocking, so that output never waits for input. False if the process accepts no more input."""
        try:
            self._pending_input = self._pending_input[self._stream.send(self._pending_input, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return True
        except OSError:
            self._pending_input = b""
            return False
        return True

    def _end_input(self) -> None:
        try:
            self._stream.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the process has already exited

    def _resize(self, resize: Resize) -> None:
        """Send the terminal size. An error is ignored, because the process may have exited."""
        if not sys.stdout.isatty():
            return
        size = os.get_terminal_size(sys.stdout.fileno())
        try:
            resize(size.lines, size.columns)
        except CoveyError:
            return

    def _on_resize(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        try:
            os.write(self._wake_write, b"r")
        except BlockingIOError:
            return  # a wake-up is already pending
