"""Layer of a commit: the writable layer of a container as a tar, with whiteouts as image layers have them, and unpacked again.

Runs in the worker process. Invariant: it writes only into the staging directory.
"""

import hashlib
import os
from pathlib import Path
from typing import cast

from agent.filesystem.changes import Lowers
from agent.filesystem.protocol import LAYER_BLOB, FileRequest, WrittenLayer
from agent.filesystem.runtime_paths import is_runtime_path
from agent.filesystem.tar_output import TarOutput
from agent.filesystem.tar_sinks import DescriptorSink
from agent.filesystem.tree_archive import TreeArchive
from agent.image.content.digests import chain_ids
from agent.image.content.layer_unpacker import LayerUnpacker
from agent.image.content.linux_syscalls import sync_filesystem
from agent.image.content.streams import Readable

UNPACKED = "layer"


def write_layer(request: FileRequest) -> WrittenLayer | None:
    """Write the layer's blob. Returns the layer without its unpacked directory, or None if nothing changed."""
    blob = Path(request.staging) / LAYER_BLOB
    digest = hashlib.sha256()
    lowers = Lowers(request.layers)
    root = os.open(request.upper, os.O_RDONLY | os.O_DIRECTORY)
    fd = os.open(blob, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        output = TarOutput(DescriptorSink(fd), digest.update)

        def skip(path: str, found: os.stat_result) -> bool:
            top = path.count("/") <= 2
            return top and is_runtime_path(path, found.st_mode, found.st_size, in_image=lowers.lstat(path) is not None)

        TreeArchive(output, as_layer=True, skip=skip).add_tree(root, "", with_root=False)
        if not output.count:
            return None
        output.end()
    finally:
        os.close(fd)
        os.close(root)
        lowers.close()
    diff_id = f"sha256:{digest.hexdigest()}"
    chain_id = chain_ids([request.chain_id, diff_id])[-1] if request.chain_id else diff_id
    return WrittenLayer(diff_id, diff_id, chain_id)


def unpack_layer(request: FileRequest, layer: WrittenLayer) -> WrittenLayer:
    """Unpack the layer beside its blob, as every other layer of the image store. Returns it with its directory and size."""
    staging = Path(request.staging)
    if layer.chain_id in request.known_layers:
        return layer
    target = staging / UNPACKED
    target.mkdir(mode=0o755)
    unpacker = LayerUnpacker(target, [Path(path) for path in request.layers], "the container's changes")
    with (staging / LAYER_BLOB).open("rb", buffering=0) as blob:
        unpacker.unpack(cast("Readable", blob))
    sync_filesystem(staging)
    return WrittenLayer(layer.digest, layer.diff_id, layer.chain_id, unpacker.content_bytes, str(target))
