"""Rotation of a manager's data keys: follows the cluster's unlock key while the manager runs.

Invariant: at every moment the files on disk open with the unlock key of the key file. A new unlock key brings new data keys: first the key
file with old and new data keys, under the new unlock key, durable; then the node key, log and snapshots are encrypted again; then the key
file with the new data key alone. A manager that crashes between two steps continues with the next one, because the plan is made from
what is on disk. The daemon receives an unlock key before the file needs it, so it can restart this process without asking an operator.
"""

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from covey.durable_file import replace_file
from covey.errors import DeadlineError
from manager.keys import node_key
from manager.keys.core_dumps import keep_out_of_dumps
from manager.keys.data_keys import DataKeys, with_new_data_key, without_old_data_keys, write
from manager.keys.key_ring import KeyRing

log = logging.getLogger(__name__)

_PERIOD_SECONDS = 0.2
_PAUSE_SECONDS = 1.0
_ROTATE_SECONDS = 20.0
_KEY_MODE = 0o600

Reencrypt = Callable[[KeyRing], Awaitable[None]]
"""Encrypts the backend's files with the ring's current key. StorageError: it failed; OSError: it cannot start now."""


class DesiredKeys(msgspec.Struct, frozen=True, kw_only=True):
    """What the Cluster object at ``version`` asks for. ``unlock_key`` is empty without autolock. ``replayed``: a manager that starts sees
    older versions again, so a lower version is ignored. Without a replay, a lower version belongs to a restored cluster and counts.
    """

    unlock_key: str
    version: int
    replayed: bool = True

    def __repr__(self) -> str:
        return f"Wanted({'locked' if self.unlock_key else 'plain'}, version={self.version})"


class RotationStep(enum.Enum):
    """The next step of a rotation."""

    LOCK = "key file under another unlock key, with a new data key"
    NODE_KEY = "node key encrypted or plain, as the key file says"
    REENCRYPT = "everything encrypted with the new data key, old data keys deleted"


def plan(keys: DataKeys, desired: DesiredKeys, node_key_id: int) -> RotationStep | None:
    """The next step from the files on disk to the desired keys. None if nothing is to do, or the desired version is outdated."""
    if keys.unlock_key != desired.unlock_key and (desired.version > keys.version or not desired.replayed):
        return RotationStep.LOCK
    if node_key_id != (keys.ring.current if keys.unlock_key else node_key.PLAIN):
        return RotationStep.NODE_KEY
    return RotationStep.REENCRYPT if keys.retired_ids else None


class KeyRotator:
    """One per manager process. ``announce`` passes an unlock key to the daemon."""

    def __init__(self, path: Path, node_key_path: Path, keys: DataKeys, announce: Callable[[str], None]) -> None:
        self._path = path
        self._node_key_path = node_key_path
        self._keys = keys
        self._decrypting_ring = keys.ring
        self._announce = announce
        self._rotated = asyncio.Event()
        self._node_key_id: int | None = None

    @property
    def ring(self) -> KeyRing:
        return self._keys.ring

    @property
    def unlock_key(self) -> str:
        """The unlock key of the key file. Empty: the file is plain."""
        return self._keys.unlock_key

    def node_key_on_disk(self, pem: bytes) -> bytes:
        """The node key in the form in which it is stored."""
        return node_key.seal(self._keys.ring, pem) if self._keys.unlock_key else pem

    def unseal(self, data: bytes) -> bytes:
        """The node key as PEM. A reader may hold the previous content, so the keys before the last rotation decrypt it too."""
        return node_key.unseal(self._decrypting_ring, self._node_key_path, data)

    async def wait_rotated(self) -> None:
        """Waits until the desired keys are in use: nothing written from then on can be read without the unlock key.

        Raises:
            DeadlineError: the keys cannot be written to disk.
        """
        self._rotated.clear()
        try:
            await asyncio.wait_for(self._rotated.wait(), _ROTATE_SECONDS)
        except TimeoutError:
            raise DeadlineError(f"could not write {self._path} within {_ROTATE_SECONDS:g} s; see the log") from None

    async def run(self, desired: Callable[[], DesiredKeys | None], reencrypt: Reencrypt) -> None:
        """Rotates until cancelled. ``desired`` returns None while the cluster's state is not known.

        Raises:
            StorageError: the log cannot be encrypted again.
        """
        last_error = ""
        while True:
            pause = _PERIOD_SECONDS
            try:
                while (now := desired()) is not None and await self.run_step(now, reencrypt):
                    last_error = ""
            except OSError as error:
                pause = _PAUSE_SECONDS
                if str(error) != last_error:
                    last_error = str(error)
                    log.error("cannot rotate this manager's keys yet, retrying: %s", last_error)  # noqa: TRY400
            await asyncio.sleep(pause)

    async def run_step(self, desired: DesiredKeys, reencrypt: Reencrypt) -> bool:
        """Runs the next step. Returns False if there is none."""
        if self._node_key_id is None:  # no other process writes it now
            self._node_key_id = node_key.sealed_with(await asyncio.to_thread(self._node_key_path.read_bytes))
        step = plan(self._keys, desired, self._node_key_id)
        if step in {None, RotationStep.REENCRYPT}:
            self._rotated.set()
        if step is not None:
            await self._execute(step, desired, reencrypt)
        return step is not None

    async def _execute(self, step: RotationStep, desired: DesiredKeys, reencrypt: Reencrypt) -> None:
        match step:
            case RotationStep.LOCK:
                if desired.unlock_key:
                    keep_out_of_dumps()
                    self._announce(desired.unlock_key)
                updated = with_new_data_key(self._keys, desired.unlock_key, desired.version)
                await asyncio.to_thread(write, self._path, updated)
                self._keys, self._decrypting_ring = updated, updated.ring
                log.info(
                    "this manager's keys are %s", "locked with a new unlock key" if desired.unlock_key else "not locked"
                )
            case RotationStep.NODE_KEY:
                self._node_key_id = None
                await asyncio.to_thread(self._write_node_key)
            case RotationStep.REENCRYPT:
                await reencrypt(self._keys.ring)
                updated = without_old_data_keys(self._keys)
                await asyncio.to_thread(write, self._path, updated)
                self._keys = updated
                log.info("all files are encrypted with data key %d", updated.ring.current)

    def _write_node_key(self) -> None:
        pem = self.unseal(self._node_key_path.read_bytes())
        replace_file(self._node_key_path, self.node_key_on_disk(pem), _KEY_MODE)
