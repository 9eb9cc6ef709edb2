"""Writes container output to stdout and stderr as it arrives."""

import sys
from collections.abc import Callable, Iterable

from cli.terminal.multiplexed import STDERR, STDOUT, frames_by_chunk

Transform = Callable[[bytes], bytes]


def write_output(chunks: Iterable[bytes], *, framed: bool, transform: Transform | None = None) -> None:
    """Write frames to the stream that they name, unframed data to stdout. What arrives together is flushed together."""
    out, err = sys.stdout.buffer, sys.stderr.buffer
    for frames in frames_by_chunk(chunks) if framed else ([(STDOUT, chunk)] for chunk in chunks):
        last = STDOUT
        for stream, data in frames:
            if stream != last:  # lines of both streams keep their order on a terminal
                (err if last == STDERR else out).flush()
                last = stream
            (err if stream == STDERR else out).write(transform(data) if transform else data)
        out.flush()
        err.flush()
