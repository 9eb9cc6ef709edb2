"""Local volume driver: ROOT/NAME/_data holds the data, ROOT/NAME/volume.json name, labels and creation time.

Invariant: a volume exists once its directory was renamed into place; only `remove` deletes data. Called by
`agent.container` and the Engine API. Callers check whether a volume is in use; that is not known here.
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
    """One volume. `options` is always empty: the driver supports none yet."""

    name: str
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    options: dict[str, str] = msgspec.field(default_factory=dict)
    created_at_ns: int = 0

    @property
    def is_anonymous(self) -> bool:
        return ANONYMOUS_LABEL in self.labels


class VolumeStore:
    """All volumes below one directory."""

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
        """Create the volume, or return the existing one. Without a name it is anonymous. Refuses driver options."""
        if options:
            raise InvalidArgumentError(
                f"volume {name}: the option {min(options)} of the local driver is not supported yet: remove it"
            )
        labels = dict(labels or {})
        if not name:
            name = secrets.token_hex(32)
            labels[ANONYMOUS_LABEL] = ""
        if not _NAME.fullmatch(name):
            raise InvalidArgumentError(f'"{name}" is not a valid volume name: use letters, digits, "_", "." and "-"')
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
        """The directory of the volume's files."""
        return self._root / self.get(name).name / "_data"

    def remove(self, name: str) -> None:
        """Delete the volume with its data. The caller has checked that no container uses it."""
        volume = self.get(name)
        removed = self._root / f".gone-{secrets.token_hex(8)}"
        (self._root / volume.name).rename(removed)
        shutil.rmtree(removed, ignore_errors=True)

    def remove_leftovers(self) -> None:
        """Delete the remains of interrupted creations and removals."""
        if self._root.is_dir():
            for path in self._root.glob(".*"):
                shutil.rmtree(path, ignore_errors=True)
