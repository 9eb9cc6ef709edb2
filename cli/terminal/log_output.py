"""Writes container output to stdout and stderr as it arrives."""

import sys
from collections.abc import Callable, Iterable

from cli.terminal.multiplexed import STDERR, read_frames

Transform = Callable[[bytes], bytes]


def write_output(chunks: Iterable[bytes], *, framed: bool, transform: Transform | None = None) -> None:
    """Write frames to the stream that they name, unframed data to stdout. Each piece is flushed, for ``logs --follow``."""
    out, err = sys.stdout.buffer, sys.stderr.buffer
    for stream, data in read_frames(chunks) if framed else ((1, chunk) for chunk in chunks):
        target = err if stream == STDERR else out
        target.write(transform(data) if transform else data)
        target.flush()
