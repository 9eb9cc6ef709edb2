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
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        while len(rest) >= HEADER_BYTES:
            length = int.from_bytes(rest[4:HEADER_BYTES], "big")
            if rest[0] > SYSTEM_ERROR or length > MAX_FRAME_BYTES:
                raise CoveyError("the daemon's output is not a multiplexed stream")
            if len(rest) < HEADER_BYTES + length:
                break
            stream, data = rest[0], bytes(rest[HEADER_BYTES : HEADER_BYTES + length])
            del rest[: HEADER_BYTES + length]
            if stream == SYSTEM_ERROR:
                raise CoveyError(f"error from daemon in stream: {data.decode(errors='replace').strip()}")
            yield stream, data
