"""Volumes of this host and their events, as data. Pure."""

from __future__ import annotations

import msgspec

LOCAL_DRIVER = "local"
ANONYMOUS_LABEL = "com.docker.volume.anonymous"


class LocalVolume(msgspec.Struct, frozen=True, kw_only=True):
    """One volume of the local driver. `options` say what is mounted there; without them it is a directory."""

    name: str
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    options: dict[str, str] = msgspec.field(default_factory=dict)
    created_at_ns: int = 0

    @property
    def is_anonymous(self) -> bool:
        return ANONYMOUS_LABEL in self.labels


class VolumeEvent(msgspec.Struct, frozen=True):
    """`action` is Docker's: create, mount, unmount or destroy."""

    time_ns: int
    action: str
    name: str
    attributes: dict[str, str] = msgspec.field(default_factory=dict)
