"""Parser of `Binds`: the strings of `docker run -v`, SOURCE:TARGET[:MODE]."""

import posixpath
from collections.abc import Sequence

from agent.container.model import ContainerMount, MountKind, MountOrigin
from covey.errors import InvalidArgumentError

_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_CLASSES = (
    ("ro", "rw"),
    ("z", "Z"),
    _PROPAGATIONS,
    ("nocopy",),
    ("consistent", "cached", "delegated", "default"),
)
"""Words of a mode. At most one of each class may be given."""


def parse_bind(text: str, driver: str) -> ContainerMount:
    """The mount of one string. ``driver`` is the driver of named volumes. Raises InvalidArgumentError in Docker's words."""
    parts = text.split(":")
    if len(parts) > 3 or "" in parts[: min(len(parts), 2)] or (len(parts) == 2 and _is_mode(parts[1])):
        raise InvalidArgumentError(f"invalid volume specification: '{text}'")
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    words = check_mode(parts[2]) if len(parts) == 3 else []
    kind = MountKind.BIND if source.startswith("/") else MountKind.VOLUME
    problem = _problem(kind, target, words)
    if problem:
        raise InvalidArgumentError(
            f"invalid volume specification: '{text}': invalid mount config for type \"{kind}\": {problem}"
        )
    propagation = next((word for word in words if word in _PROPAGATIONS), "")
    return ContainerMount(
        kind=kind,
        target=posixpath.normpath(target),
        source=posixpath.normpath(source) if kind is MountKind.BIND else source,
        read_only="ro" in words,
        propagation=propagation or "rprivate",
        create_source=kind is MountKind.BIND,
        no_copy="nocopy" in words,
        driver=driver if kind is MountKind.VOLUME else "",
        mode=parts[2] if len(parts) == 3 else "",
        origin=MountOrigin.BIND,
    )


def check_mode(mode: str) -> list[str]:
    """The words of a mode. Raises InvalidArgumentError if one is unknown, or two of them contradict each other."""
    words = mode.split(",")
    for group in _CLASSES:
        if sum(word in group for word in words) > 1:
            raise InvalidArgumentError(f"invalid mode: {mode}")
    if not all(any(word in group for group in _CLASSES) for word in words):
        raise InvalidArgumentError(f"invalid mode: {mode}")
    return words


def _is_mode(text: str) -> bool:
    try:
        check_mode(text)
    except InvalidArgumentError:
        return False
    return True


def _problem(kind: MountKind, target: str, words: Sequence[str]) -> str:
    if not target.startswith("/"):
        return f"invalid mount path: '{target}' mount path must be absolute"
    if posixpath.normpath(target.replace("//", "/")) == "/":
        return "invalid specification: destination can't be '/'"
    if kind is MountKind.BIND and "nocopy" in words:
        return "field VolumeOptions must not be specified"
    if kind is MountKind.VOLUME and any(word in _PROPAGATIONS for word in words):
        return "field BindOptions must not be specified"
    return ""
