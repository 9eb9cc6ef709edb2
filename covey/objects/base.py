"""What every stored object has: an id, a version and times, a spec with a name and labels."""

import msgspec


class Struct(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all objects: frozen and slotted, so snapshots share structure. Change one with ``replace``."""


class Meta(Struct, frozen=True, kw_only=True):
    """Written by the store alone. ``version`` is the log index of the last change: it grows, and a stale one is refused."""

    version: int = 0
    created_at_ns: int = 0
    updated_at_ns: int = 0


class Annotations(Struct, frozen=True, kw_only=True):
    name: str = ""
    labels: dict[str, str] = {}


class Driver(Struct, frozen=True, kw_only=True):
    name: str = ""
    options: dict[str, str] = {}


replace = msgspec.structs.replace
