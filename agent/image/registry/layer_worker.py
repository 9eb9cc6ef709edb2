"""The layer process of a pull: `python -m agent.image.registry.layer_worker` unpacks layers while they are downloaded.

It reads commands on stdin and unpacks the layers in the order of their tasks. A thread receives the commands, so that
unpacking follows a file that still grows.

Invariant: it writes only below the targets of its tasks. Invariant: memory is bounded, whatever a layer contains.
"""

import contextlib
import os
import sys
import threading
from collections import deque
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from agent.image.content.layer_unpacker import LayerUnpacker
from agent.image.content.linux_syscalls import keep_large_buffers, sync_filesystem
from agent.image.content.streams import HashingReader, Readable, open_stream
from agent.image.registry.layer_protocol import LayerCommand, LayerMessage, LayerTask
from covey.errors import CoveyError, InvalidArgumentError

REPORT_BYTES = 1 << 20
_COMPRESSIONS = frozenset({"", "gzip", "zstd"})


class _Commands:
    """The commands received so far."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tasks: deque[LayerCommand] = deque()
        self._readable: dict[int, int] = {}
        self._with_lowers: set[int] = set()

    def receive(self, source: BinaryIO) -> None:
        """Read commands. The end of the input ends the process."""
        decoder = msgspec.json.Decoder(LayerCommand)
        for line in source:
            command = decoder.decode(line)
            with self._changed:
                if command.task is not None or command.sync:
                    self._tasks.append(command)
                elif command.lowers_unpacked:
                    self._with_lowers.add(command.number)
                else:
                    self._readable[command.number] = command.readable_bytes
                self._changed.notify_all()
        os._exit(1)  # the daemon has gone, and its next start deletes what this process writes

    def next(self) -> LayerCommand:
        """The next task or sync."""
        with self._changed:
            self._changed.wait_for(lambda: self._tasks)
            return self._tasks.popleft()

    def wait_readable(self, number: int, offset: int) -> int:
        """How many bytes of the blob can be read, once there are more than `offset`."""
        with self._changed:
            self._changed.wait_for(lambda: self._readable.get(number, 0) > offset)
            return self._readable[number]

    def wait_for_lowers(self, number: int) -> None:
        """Wait until the layers below this one are unpacked."""
        with self._changed:
            self._changed.wait_for(lambda: number in self._with_lowers)


class _GrowingBlob:
    """Reads a blob up to its end, and waits where it still grows. It is opened once there is something to read."""

    def __init__(self, task: LayerTask, commands: _Commands, output: BinaryIO) -> None:
        self._opened: BinaryIO | None = None
        self._task = task
        self._commands = commands
        self._output = output
        self._offset = 0
        self._readable = 0
        self._reported = 0

    def read(self, size: int = -1, /) -> bytes:
        if self._offset >= self._task.blob_bytes:
            return b""
        if self._offset >= self._readable:
            self._readable = self._commands.wait_readable(self._task.number, self._offset)
        if self._opened is None:
            self._opened = cast("BinaryIO", Path(self._task.blob).open("rb", buffering=0))  # noqa: SIM115 - see close
        wanted = self._readable - self._offset
        data = self._opened.read(wanted if size < 0 else min(size, wanted))
        if not data:
            raise InvalidArgumentError(f"the blob of the layer {self._task.diff_id} ends early")
        self._offset += len(data)
        if self._offset - self._reported >= REPORT_BYTES or self._offset == self._task.blob_bytes:
            self._reported = self._offset
            _send(self._output, LayerMessage(number=self._task.number, read_bytes=self._offset))
        return data

    def close(self) -> None:
        """Close the blob, if it was opened."""
        if self._opened is not None:
            self._opened.close()


def _unpack(task: LayerTask, commands: _Commands, output: BinaryIO) -> int:
    what = f"the layer {task.diff_id}"
    with contextlib.closing(_GrowingBlob(task, commands, output)) as blob:
        plain, compression = open_stream(cast("Readable", blob), what)
        if compression not in _COMPRESSIONS:
            raise InvalidArgumentError(
                f"{what} is compressed with {compression}; layers must be uncompressed, gzip or zstd"
            )
        is_verified = not compression and task.blob_digest == task.diff_id  # its download verifies it
        reader = HashingReader(plain, task.layer_limit_bytes, what, known_digest=task.diff_id if is_verified else "")
        target = Path(task.target)
        target.mkdir(mode=0o755)
        lowers = [Path(lower) for lower in task.lowers]
        unpacker = LayerUnpacker(target, lowers, what, lambda: commands.wait_for_lowers(task.number))
        unpacker.unpack(cast("Readable", reader))
        reader.drain()
    if reader.digest != task.diff_id:
        raise InvalidArgumentError(f"{what} does not match its diff id: it is {reader.digest}")
    return unpacker.content_bytes


def _serve(commands: _Commands, output: BinaryIO) -> None:
    while True:
        command = commands.next()
        if command.task is not None:
            content_bytes = _unpack(command.task, commands, output)
            _send(output, LayerMessage(number=command.task.number, unpacked=True, content_bytes=content_bytes))
        elif command.sync:
            sync_filesystem(Path(command.sync))
            _send(output, LayerMessage(synced=True))
            return


def _send(output: BinaryIO, message: LayerMessage) -> None:
    output.write(msgspec.json.encode(message) + b"\n")
    output.flush()


def _failure(error: Exception) -> LayerMessage:
    if isinstance(error, CoveyError):
        return LayerMessage(error=error.message, error_kind=type(error).__name__)
    if isinstance(error, OSError):
        reason = f"{error.filename}: " if isinstance(error.filename, str) else ""
        reason += (error.strerror or str(error)).lower()
        return LayerMessage(error=f"failed to register layer: {reason}", error_kind="CoveyError")
    return LayerMessage(error=f"unpacking a layer failed: {type(error).__name__}: {error}", error_kind="CoveyError")


def main() -> int:
    keep_large_buffers()
    output = sys.stdout.buffer
    commands = _Commands()
    threading.Thread(target=commands.receive, args=(sys.stdin.buffer,), daemon=True).start()
    try:
        _serve(commands, output)
    except Exception as error:  # the boundary of the process: every error is reported as a message
        _send(output, _failure(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
