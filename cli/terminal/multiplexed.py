"""Docker's frames: a head of eight bytes (stream, three zeros, length) before each piece of output. Pure."""

from collections.abc import Iterable, Iterator

from covey.errors import CoveyError

MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
HEADER_BYTES = 8
STDOUT, STDERR, SYSTEM_ERROR = 1, 2, 3
MAX_FRAME_BYTES = 1 << 26


def read_frames(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each frame's stream and content, wherever the chunks were cut.

    Raises:
        CoveyError: the daemon reports an error within the stream, or the stream is no sequence of frames.
    """
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        while len(rest) >= HEADER_BYTES:
            length = int.from_bytes(rest[4:HEADER_BYTES], "big")
            if rest[0] > SYSTEM_ERROR or length > MAX_FRAME_BYTES:
                raise CoveyError("the daemon's output is not in frames")
            if len(rest) < HEADER_BYTES + length:
                break
            stream, data = rest[0], bytes(rest[HEADER_BYTES : HEADER_BYTES + length])
            del rest[: HEADER_BYTES + length]
            if stream == SYSTEM_ERROR:
                raise CoveyError(f"error from daemon in stream: {data.decode(errors='replace').strip()}")
            yield stream, data
