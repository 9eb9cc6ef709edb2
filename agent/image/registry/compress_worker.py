"""The compress process of a push: `python -m agent.image.registry.compress_worker BLOB TARGET` writes BLOB as gzip to TARGET.

It prints the digest of the target. Equal input gives equal bytes, so a layer has one compressed form.
"""

import hashlib
import sys
import zlib
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 1 << 20
LEVEL = 4  # layers are compressed once and sent often, but the user waits for the first push


def compress(source: BinaryIO, target: BinaryIO) -> str:
    """Compress, and return the digest of the result."""
    compressor, digest = zlib.compressobj(LEVEL, wbits=31), hashlib.sha256()
    while data := source.read(CHUNK_BYTES):
        _write(compressor.compress(data), target, digest)
    _write(compressor.flush(), target, digest)
    return f"sha256:{digest.hexdigest()}"


def _write(data: bytes, target: BinaryIO, digest: "hashlib._Hash") -> None:
    digest.update(data)
    target.write(data)


def main(arguments: list[str]) -> None:
    blob, target = map(Path, arguments)
    with blob.open("rb") as source, target.open("wb") as opened:
        print(compress(source, opened))


if __name__ == "__main__":
    main(sys.argv[1:])
