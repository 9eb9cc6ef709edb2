"""Staged content: layers and images that lie complete in a staging folder, ready to be committed to the content store. Pure."""

from collections.abc import Mapping

import msgspec


class StagedLayer(msgspec.Struct, frozen=True):
    """A layer of an image. `unpacked` is its staged directory, empty when the chain id was unpacked before."""

    digest: str
    diff_id: str
    chain_id: str
    content_bytes: int = 0
    unpacked: str = ""


class StagedImage(msgspec.Struct, frozen=True):
    """An image that was staged completely: its config's digest, its layers (bottom first), its tags.

    `parent` is the image that a commit started from.
    """

    config: str
    layers: tuple[StagedLayer, ...]
    tags: tuple[str, ...] = ()
    parent: str = ""


class StagedContent(msgspec.Struct, frozen=True):
    """What one operation commits: its images and its blobs, by digest, with the staged file of each."""

    images: tuple[StagedImage, ...]
    blobs: Mapping[str, str] = {}
