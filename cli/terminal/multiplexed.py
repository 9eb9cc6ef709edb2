"""Parser of Docker's multiplexed stream: an 8-byte header (stream, three zeros, length) before each frame. Pure."""

from collections.abc import Iterable, Iterator

from covey.errors import CoveyError

MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
HEADER_BYTES = 8
STDOUT, STDERR, SYSTEM_ERROR = 1, 2, 3
MAX_FRAME_BYTES = 1 << 26


def read_frames(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The stream and the content of each frame. Chunks may be cut anywhere.

    Raises:
        CoveyError: the daemon reports an error in the stream, or the data is not multiplexed.
    """
    for frames in frames_by_chunk(chunks):
        yield from frames


def frames_by_chunk(chunks: Iterable[bytes]) -> Iterator[list[tuple[int, bytes]]]:
    """The frames that each chunk completes, for output that is flushed once a chunk.

    Raises:
        CoveyError: as ``read_frames``, after the frames before it.
    """
    rest = b""
    for chunk in chunks:
        data = rest + chunk if rest else chunk
        frames: list[tuple[int, bytes]] = []
        start, problem = 0, ""
        while len(data) - start >= HEADER_BYTES:
            stream, length = data[start], int.from_bytes(data[start + 4 : start + HEADER_BYTES], "big")
            if stream > SYSTEM_ERROR or length > MAX_FRAME_BYTES:
                problem = "the daemon's output is not a multiplexed stream"
                break
            end = start + HEADER_BYTES + length
            if len(data) < end:
                break
            content = data[start + HEADER_BYTES : end]
            if stream == SYSTEM_ERROR:
                problem = f"error from daemon in stream: {content.decode(errors='replace').strip()}"
                break
            frames.append((stream, content))
            start = end
        rest = data[start:]
        yield frames
        if problem:
            raise CoveyError(problem)
