"""Messages between a pull and its layer process: JSON lines on stdin and stdout. Pure.

Both sides always come from one installation, so the format has no version.
"""

import msgspec


class LayerTask(msgspec.Struct, frozen=True, omit_defaults=True):
    """A layer to unpack: its blob, which may still be growing, and the unpacked layers below, topmost first.

    The caller verifies `blob_digest` himself before he uses the layer. An uncompressed blob is then not hashed again for
    its diff id.
    """

    number: int
    blob: str
    blob_bytes: int
    diff_id: str
    target: str
    lowers: tuple[str, ...] = ()
    layer_limit_bytes: int = 64 << 30
    blob_digest: str = ""


class LayerCommand(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of input: a task, how many bytes of its blob can be read, or that the layers below it are unpacked.

    `sync` follows the last task.
    """

    task: LayerTask | None = None
    number: int = 0
    readable_bytes: int = 0
    lowers_unpacked: bool = False
    sync: str = ""


class LayerMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of output: progress in compressed bytes, a layer that is unpacked, the end, or an error."""

    number: int = 0
    read_bytes: int = 0
    unpacked: bool = False
    content_bytes: int = 0
    synced: bool = False
    error: str = ""
    error_kind: str = ""
