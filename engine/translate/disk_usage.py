"""The answer of ``docker system df``, and the sizes that images share. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from agent.image.model import Image
from covey.errors import InvalidArgumentError

TYPES = ("container", "image", "volume", "build-cache")
TYPES_SINCE = (1, 42)
"""The API version that brought the choice of types; older ones always get everything."""


def chosen_types(given: Collection[str], version: tuple[int, int]) -> frozenset[str]:
    """The types of objects that a request asks for. InvalidArgumentError names an unknown one."""
    if version < TYPES_SINCE or not given:
        return frozenset(TYPES)
    for name in given:
        if name not in TYPES:
            raise InvalidArgumentError(f"unknown object type: {name}; use one of {', '.join(TYPES)}")
    return frozenset(given)


def shared_sizes(images: Sequence[Image]) -> Mapping[str, int]:
    """For each image, the bytes of the layers that another image has too. A layer is shared with all that are below it."""
    users = Counter(chain for image in images for chain in _chains(image))
    return {
        image.id: sum(size for chain, size in zip(_chains(image), image.layer_sizes, strict=False) if users[chain] > 1)
        for image in images
    }


def _chains(image: Image) -> list[tuple[str, ...]]:
    return [image.diff_ids[:end] for end in range(1, len(image.diff_ids) + 1)]


def write(
    layer_bytes: int,
    images: list[dict[str, Any]],
    containers: list[dict[str, Any]],
    volumes: list[dict[str, Any]],
    types: Collection[str],
    *,
    cache: list[dict[str, Any]],
) -> dict[str, Any]:
    """The answer; a type that was not asked for is null."""
    return {
        "LayersSize": layer_bytes if "image" in types else 0,
        "Images": images if "image" in types else None,
        "Containers": containers if "container" in types else None,
        "Volumes": volumes if "volume" in types else None,
        "BuildCache": cache if "build-cache" in types else None,
    }
