"""The compress process of a push: `python -m agent.image.registry.compress_worker BLOB TARGET` writes BLOB as gzip to TARGET.

It prints the digest of the target. Equal input gives equal bytes, so a layer has one compressed form.
"""

import hashlib
import sys
from pathlib import Path

from agent.image.content.linux_syscalls import keep_large_buffers
from agent.image.registry.parallel_gzip import compressed


def main(arguments: list[str]) -> None:
    keep_large_buffers()
    blob, target = map(Path, arguments)
    digest = hashlib.sha256()
    with blob.open("rb") as source, target.open("wb") as opened:
        for piece in compressed(source):
            digest.update(piece)
            opened.write(piece)
    print(f"sha256:{digest.hexdigest()}")


if __name__ == "__main__":
    main(sys.argv[1:])
