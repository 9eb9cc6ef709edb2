"""The local volume driver: `ROOT/NAME/_data` holds the data, `ROOT/NAME/volume.json` what was asked for.

Law: a volume exists once its folder was renamed into place, and data is only ever deleted by `remove`. Callers: the
containers of this
host and the Engine API. Whether a volume is in use is the callers' knowledge, not kept here.
"""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path

import msgspec

from covey.errors import ConflictError, InvalidArgumentError, NotFoundError

ANONYMOUS_LABEL = "com.docker.volume.anonymous"
VOLUME_LIMIT = 10_000
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")


class LocalVolume(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    options: dict[str, str] = msgspec.field(default_factory=dict)
    created_at_ns: int = 0

    @property
    def is_anonymous(self) -> bool:
        return ANONYMOUS_LABEL in self.labels


class VolumeStore:
    """All volumes below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(
        self,
        name: str = "",
        *,
        labels: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
        now_ns: int = 0,
    ) -> LocalVolume:
        """Make it, or return the one of that name. No name makes an anonymous one. Mount options are refused by
        name.
        """
        if options:
            raise InvalidArgumentError(f"volume {name}: the local driver takes no options yet, not {min(options)}")
        labels = dict(labels or {})
        if not name:
            name = secrets.token_hex(32)
            labels[ANONYMOUS_LABEL] = ""
        if not _NAME.fullmatch(name):
            raise InvalidArgumentError(f'"{name}" is no volume name: use letters, digits, "_", "." and "-"')
        if (self._root / name).exists():
            return self.get(name)
        self._root.mkdir(mode=0o711, parents=True, exist_ok=True)
        if len(self.list()) >= VOLUME_LIMIT:
            raise ConflictError(f"this host has {VOLUME_LIMIT} volumes already: remove some")
        volume = LocalVolume(name=name, labels=labels, created_at_ns=now_ns)
        building = self._root / f".new-{secrets.token_hex(8)}"
        (building / "_data").mkdir(parents=True)
        (building / "_data").chmod(0o755)
        (building / "volume.json").write_bytes(msgspec.json.encode(volume))
        building.rename(self._root / name)
        return volume

    def get(self, name: str) -> LocalVolume:
        if not _NAME.fullmatch(name):
            raise NotFoundError(f"get {name}: no such volume")
        try:
            return msgspec.json.decode((self._root / name / "volume.json").read_bytes(), type=LocalVolume)
        except FileNotFoundError:
            raise NotFoundError(f"get {name}: no such volume") from None

    def list(self) -> list[LocalVolume]:
        if not self._root.is_dir():
            return []
        return [self.get(p.name) for p in sorted(self._root.iterdir()) if not p.name.startswith(".")]

    def data_path(self, name: str) -> Path:
        """Where the volume's files are."""
        return self._root / self.get(name).name / "_data"

    def remove(self, name: str) -> None:
        """Delete it with its data; the caller has made sure that nothing uses it."""
        volume = self.get(name)
        doomed = self._root / f".gone-{secrets.token_hex(8)}"
        (self._root / volume.name).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def remove_leftovers(self) -> None:
        """Delete what an interrupted create or remove left."""
        if self._root.is_dir():
            for path in self._root.glob(".*"):
                shutil.rmtree(path, ignore_errors=True)
