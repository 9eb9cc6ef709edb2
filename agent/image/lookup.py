"""Image lookup by name, id or id prefix, and the filters of `docker image ls --filter`. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase

from agent.image.model import Image
from covey import image_reference
from covey.clock import SECOND
from covey.errors import ConflictError, InvalidArgumentError, NotFoundError

_PREFIX = re.compile(r"(?:sha256:)?([a-f0-9]{1,64})")
_UNITS = {"s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
_TRUE = frozenset({"1", "true", "True", "t"})
_FALSE = frozenset({"0", "false", "False", "f"})


def resolve_image(
    name: str, images: Mapping[str, Image], tags: Mapping[str, str], digests: Mapping[str, str] | None = None
) -> Image:
    """The image with that full id, else that reference, else that unique id prefix, in Docker's order.

    `digests` maps NAME@DIGEST, as registries know an image, to its id.

    Raises NotFoundError, or ConflictError for an ambiguous prefix.
    """
    if image_reference.is_image_id(name):
        found = images.get(name if name.startswith("sha256:") else f"sha256:{name}")
        if found is not None:
            return found
        raise _not_found(name)
    parsed = _parse_or_none(name)
    if parsed is not None:
        found = _by_reference(parsed, images, tags, digests or {})
        if found is not None:
            return found
    prefix = _PREFIX.fullmatch(name)
    if prefix:
        matches = [image for image_id, image in images.items() if image_id.startswith(f"sha256:{prefix[1]}")]
        if len(matches) > 1:
            raise ConflictError(f'the id prefix "{name}" matches {len(matches)} images; use more digits of the id')
        if matches:
            return matches[0]
    if parsed is None and not prefix:
        image_reference.parse(name)  # raises with the reason
    raise _not_found(parsed.with_default_tag().familiar if parsed else name)


def _by_reference(
    parsed: image_reference.Reference, images: Mapping[str, Image], tags: Mapping[str, str], digests: Mapping[str, str]
) -> Image | None:
    """A digest is the one that a registry knows, or an image id if the image also has a tag of that name."""
    if parsed.digest:
        known = digests.get(f"{parsed.familiar_name}@{parsed.digest}", "")
        if known in images:
            return images[known]
        image = images.get(parsed.digest)
        if image is None or not any(image_reference.parse(tag).name == parsed.name for tag in image.repo_tags):
            return None
        return image
    return images.get(tags.get(parsed.with_default_tag().familiar, ""))


def filter_images(
    images: Sequence[Image], filters: Mapping[str, Sequence[str]], get: Callable[[str], Image], now_ns: int
) -> tuple[Image, ...]:
    """The images that match every filter. One of several values of a filter is enough, except for labels."""
    matching = list(images)
    for key, values in filters.items():
        matching = [image for image in matching if _matches_filter(image, key, values, get, now_ns)]
        _check_filter(key, values)
    return tuple(matching)


def _matches_filter(image: Image, key: str, values: Sequence[str], get: Callable[[str], Image], now_ns: int) -> bool:
    if key == "dangling":
        return any((value in _TRUE) is not bool(image.repo_tags) for value in values)
    if key == "label":
        return all(_has_label(image, value) for value in values)
    if key == "label!":
        return not any(_has_label(image, value) for value in values)
    if key == "reference":
        return any(_matches_pattern(tag, pattern) for tag in image.repo_tags for pattern in values)
    if key == "before":
        return all(image.created < get(value).created for value in values)
    if key == "since":
        return all(image.created > get(value).created for value in values)
    if key == "until":
        return all(_seconds(image.created) * SECOND < _until_ns(value, now_ns) for value in values)
    raise InvalidArgumentError(
        f'invalid filter "{key}": images are filtered by dangling, label, reference, before, since, until'
    )


def _check_filter(key: str, values: Sequence[str]) -> None:
    """Refuse an unknown filter or value, also when there are no images."""
    if key not in {"dangling", "label", "label!", "reference", "before", "since", "until"}:
        raise InvalidArgumentError(
            f'invalid filter "{key}": images are filtered by dangling, label, reference, before, since, until'
        )
    if key == "dangling" and any(value not in _TRUE | _FALSE for value in values):
        raise InvalidArgumentError(f"invalid filter 'dangling=[{' '.join(values)}]'; it takes true or false")


def _has_label(image: Image, label: str) -> bool:
    key, equals, value = label.partition("=")
    return key in image.config.labels and (not equals or image.config.labels[key] == value)


def _matches_pattern(tag: str, pattern: str) -> bool:
    """Match a reference pattern as Docker does: `*` does not match a slash, and a pattern without a tag matches any."""
    parsed = image_reference.parse(tag)
    names = (parsed.familiar_name, parsed.familiar, parsed.name, str(parsed))
    return any(name.count("/") == pattern.count("/") and fnmatchcase(name, pattern) for name in names)


def _until_ns(text: str, now_ns: int) -> int:
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS and number.replace(".", "", 1).isdigit():
        return now_ns - int(float(number) * _UNITS[unit])
    if text.isdigit():
        return int(text) * SECOND
    try:
        return int(datetime.fromisoformat(text).timestamp() * SECOND)
    except ValueError:
        raise InvalidArgumentError(
            f"invalid filter 'until=[{text}]'; use a duration such as 24h, or a timestamp"
        ) from None


def _seconds(created: str) -> float:
    try:
        return datetime.fromisoformat(created).timestamp()
    except ValueError:
        return 0.0


def _parse_or_none(name: str) -> image_reference.Reference | None:
    try:
        return image_reference.parse(name)
    except InvalidArgumentError:
        return None


def _not_found(name: str) -> NotFoundError:
    return NotFoundError(f"No such image: {name}")
