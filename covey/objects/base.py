"""Base classes of the cluster's objects: structs, metadata, annotations, drivers."""

import msgspec


class Struct(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all objects: frozen and slotted, so snapshots share structure. Change one with ``replace``."""


class Meta(Struct, frozen=True, kw_only=True):
    """Written by the store only. ``version`` is the log index of the last change, used for optimistic concurrency control."""

    version: int = 0
    created_at_ns: int = 0
    updated_at_ns: int = 0


class Annotations(Struct, frozen=True, kw_only=True):
    """Name and labels of an object."""

    name: str = ""
    labels: dict[str, str] = {}


class Driver(Struct, frozen=True, kw_only=True):
    """A driver with its options, of networks, volumes, logs or templates."""

    name: str = ""
    options: dict[str, str] = {}


replace = msgspec.structs.replace
