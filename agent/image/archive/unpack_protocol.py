"""Messages between the image store and its unpack process: one request in a file, answers as JSON lines on stdout. Pure.

Both sides always come from one installation, so the format has no version.
"""

from collections.abc import Mapping

import msgspec

from agent.image.content.staged import StagedImage


class UnpackLimits(msgspec.Struct, frozen=True):
    """Limits for the size of an archive and its parts."""

    layer_bytes: int = 64 << 30
    archive_bytes: int = 128 << 30
    archive_entries: int = 20_000
    document_bytes: int = 8 << 20


class UnpackRequest(msgspec.Struct, frozen=True):
    """The request. `mode` is `load` or `import`. `layers` maps chain ids that are unpacked already to their directories.
    `platform` is `os/architecture[/variant]`, empty for this host's.
    """

    mode: str
    staging: str
    layers: Mapping[str, str] = {}
    limits: UnpackLimits = UnpackLimits()
    platform: str = ""


class UnpackMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of output: progress, or as the last line the result or an error.

    The result is `images` and `blobs` (digest to staged file), with `done`.
    """

    step: str = ""
    id: str = ""
    current: int = 0
    total: int = 0
    error: str = ""
    error_kind: str = ""
    done: bool = False
    images: tuple[StagedImage, ...] = ()
    blobs: Mapping[str, str] = {}
