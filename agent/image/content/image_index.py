"""Index of the images in memory: builds `Image` objects from metadata rows and config blobs. Pure.

Called by `agent.image.store` after every change. Images that were built before are reused, because their config never changes.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from agent.image.content.metadata import MetadataSnapshot
from agent.image.model import HistoryEntry, Image, OciImageConfig, OciRootfs, build_image, decode_config
from covey.clock import SECOND


def build_index(
    metadata: MetadataSnapshot, known: Mapping[str, Image], configs: Mapping[str, bytes]
) -> dict[str, Image]:
    """All images by id. `known` are built already, `configs` are the blobs of the others. One with neither is left out."""
    tags: dict[str, list[str]] = {}
    for tag, image_id in metadata.tags.items():
        tags.setdefault(image_id, []).append(tag)
    digests: dict[str, list[str]] = {}
    for name, image_id in metadata.digests.items():
        digests.setdefault(image_id, []).append(name)
    images = {}
    for image_id, row in metadata.images.items():
        if image_id in known:
            image = known[image_id]
        elif image_id in configs:
            sizes = tuple(metadata.layers[layer.chain_id].content_bytes for layer in row.layers)
            image = build_image(image_id, decode_config(configs[image_id], image_id), layer_sizes=sizes)
        else:
            continue
        last_tagged = format_time(row.tagged_ns) if row.tagged_ns else ""
        images[image_id] = msgspec.structs.replace(
            image,
            repo_tags=tuple(tags.get(image_id, ())),
            repo_digests=tuple(digests.get(image_id, ())),
            last_tagged=last_tagged,
            parent=_existing(metadata.parents.get(image_id, ""), metadata),
        )
    return images


def _existing(image_id: str, metadata: MetadataSnapshot) -> str:
    """The id if the image is still there."""
    return image_id if image_id in metadata.images else ""


def imported_config(diff_ids: tuple[str, ...], message: str, architecture: str, now_ns: int) -> OciImageConfig:
    """The config of an image that `docker import` creates. The time is part of it, so ids differ each time."""
    created, comment = format_time(now_ns), message or "Imported from -"
    return OciImageConfig(
        architecture=architecture,
        os="linux",
        created=created,
        comment=comment,
        rootfs=OciRootfs(diff_ids=[*diff_ids]),
        history=[HistoryEntry(created=created, comment=comment)],
    )


def format_time(time_ns: int) -> str:
    """RFC 3339 in UTC."""
    return datetime.fromtimestamp(time_ns / SECOND, UTC).isoformat().replace("+00:00", "Z")
