"""Volumes as Docker's JSON, and their filters."""

from collections.abc import Mapping, Sequence
from typing import Any

from covey.errors import InvalidArgumentError
from engine.interfaces import Volume
from engine.translate.filters import Filters, filter_flag, match_labels
from engine.translate.times import rfc3339

LIST_FILTERS = ("dangling", "driver", "label", "label!", "name")
PRUNE_FILTERS = ("all", "label", "label!")
_ALL_SINCE = (1, 42)
"""From this API version on, a prune spares named volumes unless the filter `all` is given."""


def write(volume: Volume, mountpoint: str, usage: Mapping[str, int] | None = None) -> dict[str, Any]:
    """A volume. `usage` is only given where Docker tells it: in `system df`."""
    result: dict[str, Any] = {
        "CreatedAt": rfc3339(volume.created_at_ns),
        "Driver": "local",
        "Labels": dict(volume.labels) or None,
        "Mountpoint": mountpoint,
        "Name": volume.name,
        "Options": dict(volume.options) or None,
        "Scope": "local",
    }
    return result if usage is None else {**result, "UsageData": dict(usage)}


def matches(filters: Filters, volume: Volume, users: Sequence[str]) -> bool:
    """Whether a volume passes the filters of a list. `users` are the containers that have it."""
    names, dangling = filters.get("name"), filter_flag(filters, "dangling")
    return (
        (not names or any(name in volume.name for name in names))
        and matches_labels(filters, volume)
        and "local" in filters.get("driver", ("local",))
        and (dangling is None or dangling is not bool(users))
    )


def matches_labels(filters: Filters, volume: Volume) -> bool:
    """Whether the volume has all labels of `label` and none of `label!`."""
    return match_labels(filters.get("label", ()), volume.labels) and not any(
        match_labels((item,), volume.labels) for item in filters.get("label!", ())
    )


def prunes_named(filters: Filters, version: tuple[int, int]) -> bool:
    """Whether a prune takes named volumes too. Raises InvalidArgumentError for `all` where it does not exist yet."""
    if version < _ALL_SINCE:
        if "all" in filters:
            raise InvalidArgumentError("invalid filter 'all'")
        return True
    return bool(filter_flag(filters, "all"))
