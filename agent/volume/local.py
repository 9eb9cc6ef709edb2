"""Local volume driver: ROOT/NAME/_data holds the data, ROOT/NAME/volume.json name, labels, options and creation time.

A volume with driver options is mounted on `_data` with its first user and unmounted with the last one.

Invariant: a volume exists once its directory was renamed into place; only `remove` deletes data, and never through a mount.
Called by `agent.container` and the Engine API.
"""

from __future__ import annotations

import asyncio
import builtins
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from agent.event_bus import EventBus
from agent.runtime import mounts
from agent.volume import disk_usage
from agent.volume.driver_options import check_options, plan_mount
from agent.volume.model import ANONYMOUS_LABEL, LOCAL_DRIVER, LocalVolume, VolumeEvent
from agent.volume.mounter import mount_volume
from agent.volume.pending import PendingCreations
from covey.errors import ConflictError, DeadlineError, InvalidArgumentError, NotFoundError

VOLUME_LIMIT = 10_000
MOUNT_SECONDS = 120.0
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}")


class VolumeStore:
    """All volumes below one directory, and who uses them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._users: dict[str, set[str]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.events = EventBus[VolumeEvent]()
        self.pending = PendingCreations(root)

    def create(
        self,
        name: str = "",
        *,
        driver: str = "",
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        anonymous: bool = False,
        now_ns: int = 0,
    ) -> LocalVolume:
        """Create the volume, or return the existing one as it is. Without a name it is anonymous, or if `anonymous` says so."""
        if driver not in {"", LOCAL_DRIVER}:
            raise NotFoundError(f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found')
        labels, options = dict(labels or {}), dict(options or {})
        if not name or anonymous:
            name = name or secrets.token_hex(32)
            labels[ANONYMOUS_LABEL] = ""
        self.check(name, options)
        if (self._root / name).exists():
            return self.get(name)
        self._root.mkdir(mode=0o711, parents=True, exist_ok=True)
        if len(self.list()) >= VOLUME_LIMIT:
            raise ConflictError(f"this host has {VOLUME_LIMIT} volumes already: remove some")
        volume = LocalVolume(name=name, labels=labels, options=options, created_at_ns=now_ns)
        building = self._root / f".new-{secrets.token_hex(8)}"
        (building / "_data").mkdir(parents=True)
        (building / "_data").chmod(0o755)
        (building / "volume.json").write_bytes(msgspec.json.encode(volume))
        building.rename(self._root / name)
        self._emit("create", name)
        return volume

    def check(self, name: str, options: Mapping[str, str]) -> None:
        """Raises InvalidArgumentError in Docker's words for a name or options that no volume can have."""
        if len(name) == 1:
            raise InvalidArgumentError(
                f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
            )
        if not _NAME.fullmatch(name):
            raise InvalidArgumentError(
                f'create {name}: "{name}" includes invalid characters for a local volume name, only '
                '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
            )
        check_options(name, options)

    def exists(self, name: str) -> bool:
        return bool(_NAME.fullmatch(name)) and (self._root / name / "volume.json").exists()

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

    async def size_bytes(self, name: str) -> int:
        """The size of the volume's files, each counted once; 0 while a volume with driver options is not mounted."""
        return await asyncio.to_thread(disk_usage.size_bytes, self.data_path(name))

    async def use(self, name: str, user: str) -> Path:
        """The directory of the volume's files for a user, mounted if its options say so, until `release`."""
        volume = self.get(name)
        path = self.data_path(name)
        plan = plan_mount(volume.options)
        async with self._lock(name):
            if plan is not None and not mounts.is_mount_point(path):
                try:
                    async with asyncio.timeout(MOUNT_SECONDS):
                        await asyncio.to_thread(mount_volume, plan, path)
                except TimeoutError:
                    raise DeadlineError(
                        f"error while mounting volume '{path}': {plan.device} did not answer within {MOUNT_SECONDS:g} s"
                    ) from None
            self._users.setdefault(name, set()).add(user)
        return path

    async def release(self, user: str) -> builtins.list[str]:
        """End all uses of a user. A volume that nobody uses any more is unmounted. Returns the names of its volumes."""
        names = sorted(name for name, users in self._users.items() if user in users)
        for name in names:
            async with self._lock(name):
                users = self._users.get(name, set())
                users.discard(user)
                if not users:
                    self._users.pop(name, None)
                    await asyncio.to_thread(self._unmount, name)
        return names

    def adopt(self, user: str, names: Iterable[str]) -> None:
        """Record the uses of a container that the previous daemon started."""
        for name in names:
            self._users.setdefault(name, set()).add(user)

    def users(self, name: str) -> builtins.list[str]:
        """Who uses the volume's files now."""
        return sorted(self._users.get(name, ()))

    async def remove(self, name: str) -> None:
        """Delete the volume with its data. The caller has checked that no container has it."""
        volume = self.get(name)
        async with self._lock(name):
            users = self.users(name)
            if users:
                raise ConflictError(f"remove {name}: volume is in use - [{', '.join(users)}]")
            await asyncio.to_thread(self._delete, volume.name)
        self._locks.pop(name, None)
        self._emit("destroy", name)

    def remove_leftovers(self) -> None:
        """Unmount what nobody uses, and delete the remains of interrupted creations and removals."""
        if not self._root.is_dir():
            return
        for target in mounts.mount_points_below(self._root):
            if target.removeprefix(f"{self._root}/").partition("/")[0] not in self._users:
                mounts.unmount(target)
        for path in self._root.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)

    def emit(self, action: str, name: str, **attributes: str) -> None:
        """Publish an event of a volume's use."""
        self._emit(action, name, attributes)

    def _emit(self, action: str, name: str, attributes: Mapping[str, str] | None = None) -> None:
        self.events.emit(VolumeEvent(time.time_ns(), action, name, {"driver": LOCAL_DRIVER, **(attributes or {})}))

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _unmount(self, name: str) -> None:
        path = self._root / name / "_data"
        while mounts.is_mount_point(path):
            mounts.unmount(str(path))

    def _delete(self, name: str) -> None:
        self._unmount(name)
        left = mounts.mount_points_below(self._root / name)
        if left:
            raise ConflictError(f"remove {name}: something is mounted at {left[0]}: unmount it first")
        removed = self._root / f".gone-{secrets.token_hex(8)}"
        (self._root / name).rename(removed)
        shutil.rmtree(removed, ignore_errors=True)
