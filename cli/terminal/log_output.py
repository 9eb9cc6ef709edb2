"""Output of containers, written to our own stdout and stderr as it comes."""

import sys
from collections.abc import Callable, Iterable

from cli.terminal.multiplexed import STDERR, read_frames

Transform = Callable[[bytes], bytes]


def write_output(chunks: Iterable[bytes], *, framed: bool, transform: Transform | None = None) -> None:
    """Frames to the stream they name, else everything to stdout; each flushed, so that who follows sees it at once."""
    out, err = sys.stdout.buffer, sys.stderr.buffer
    for stream, data in read_frames(chunks) if framed else ((1, chunk) for chunk in chunks):
        target = err if stream == STDERR else out
        target.write(transform(data) if transform else data)
        target.flush()
