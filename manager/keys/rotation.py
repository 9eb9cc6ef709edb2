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

from covey.errors import DeadlineError
from manager.identity import write_file
from manager.keys import node_key
from manager.keys.core_dumps import keep_out_of_dumps
from manager.keys.file import DataKeys, with_new_data_key, without_old_data_keys, write
from manager.keys.key_ring import KeyRing

log = logging.getLogger(__name__)

_PERIOD_SECONDS = 0.2
_PAUSE_SECONDS = 1.0
_SAFE_SECONDS = 20.0
_KEY_MODE = 0o600

Reencrypt = Callable[[KeyRing], Awaitable[None]]
"""Seals everything of the engine with the ring's current key; StorageError when that fails, OSError when it cannot begin now."""


class DesiredKeys(msgspec.Struct, frozen=True, kw_only=True):
    """What the cluster's object of that version says. ``unlock_key`` is empty when managers are not locked. ``replayed`` says that a
    manager that starts sees states again that were true once; where it sees none, a lower version is a restored cluster's.
    """

    unlock_key: str
    version: int
    replayed: bool = True

    def __repr__(self) -> str:
        return f"Wanted({'locked' if self.unlock_key else 'plain'}, version={self.version})"


class RotationStep(enum.Enum):
    """What is to be done next."""

    LOCK = "the file of keys under another unlock key, with a new data key"
    NODE_KEY = "the node's key as the file of keys says"
    RESEAL = "everything sealed with the new data key, the old ones forgotten"


def plan(keys: DataKeys, wanted: DesiredKeys, node_key_id: int) -> RotationStep | None:
    """The next step from what is on the disk to what the cluster wants. A state from before the one that is followed wants nothing."""
    if keys.unlock_key != wanted.unlock_key and (wanted.version > keys.version or not wanted.replayed):
        return RotationStep.LOCK
    if node_key_id != (keys.ring.current if keys.unlock_key else node_key.PLAIN):
        return RotationStep.NODE_KEY
    return RotationStep.RESEAL if keys.retired_ids else None


class KeyRotator:
    """One a manager's process. ``tell`` passes an unlock key to the daemon."""

    def __init__(self, path: Path, node_key_path: Path, keys: DataKeys, tell: Callable[[str], None]) -> None:
        self._path = path
        self._node_key_path = node_key_path
        self._keys = keys
        self._opening = keys.ring
        self._tell = tell
        self._safe = asyncio.Event()
        self._node_key_id: int | None = None

    @property
    def ring(self) -> KeyRing:
        return self._keys.ring

    @property
    def unlock_key(self) -> str:
        """What the file of keys lies under; empty: nothing."""
        return self._keys.unlock_key

    def node_key_on_disk(self, pem: bytes) -> bytes:
        """The node's key as it is to lie on the disk."""
        return node_key.seal(self._keys.ring, pem) if self._keys.unlock_key else pem

    def unseal(self, data: bytes) -> bytes:
        """The node's key as PEM. A reader may hold what was there a moment ago, so the keys of one rotation ago open it too."""
        return node_key.unseal(self._opening, self._node_key_path, data)

    async def wait_rotated(self) -> None:
        """Until what the cluster wants now is followed: nothing written from then on can be read without its unlock key.

        Raises:
            DeadlineError: the disk does not take the keys.
        """
        self._safe.clear()
        try:
            await asyncio.wait_for(self._safe.wait(), _SAFE_SECONDS)
        except TimeoutError:
            raise DeadlineError(f"{self._path} could not be written within {_SAFE_SECONDS:g} s; see the log") from None

    async def run(self, wanted: Callable[[], DesiredKeys | None], reseal: Reencrypt) -> None:
        """Until cancelled; ``wanted`` is None while the cluster's state is not known.

        Raises:
            StorageError: the log cannot be sealed anew.
        """
        said = ""
        while True:
            pause = _PERIOD_SECONDS
            try:
                while (now := wanted()) is not None and await self.run_step(now, reseal):
                    said = ""
            except OSError as error:
                pause = _PAUSE_SECONDS
                if str(error) != said:
                    said = str(error)
                    log.error("this manager's keys are not as the cluster wants them, trying again: %s", said)  # noqa: TRY400
            await asyncio.sleep(pause)

    async def run_step(self, wanted: DesiredKeys, reseal: Reencrypt) -> bool:
        """One step towards it; False when there is none left."""
        if self._node_key_id is None:  # nobody else writes it now
            self._node_key_id = node_key.sealed_with(await asyncio.to_thread(self._node_key_path.read_bytes))
        step = plan(self._keys, wanted, self._node_key_id)
        if step in {None, RotationStep.RESEAL}:
            self._safe.set()
        if step is not None:
            await self._do(step, wanted, reseal)
        return step is not None

    async def _do(self, step: RotationStep, wanted: DesiredKeys, reseal: Reencrypt) -> None:
        match step:
            case RotationStep.LOCK:
                if wanted.unlock_key:
                    keep_out_of_dumps()
                    self._tell(wanted.unlock_key)
                fresh = with_new_data_key(self._keys, wanted.unlock_key, wanted.version)
                await asyncio.to_thread(write, self._path, fresh)
                self._keys, self._opening = fresh, fresh.ring
                log.info("this manager's keys are %s", "locked with a new key" if wanted.unlock_key else "not locked")
            case RotationStep.NODE_KEY:
                self._node_key_id = None
                await asyncio.to_thread(self._write_node_key)
            case RotationStep.RESEAL:
                await reseal(self._keys.ring)
                fresh = without_old_data_keys(self._keys)
                await asyncio.to_thread(write, self._path, fresh)
                self._keys = fresh
                log.info("everything is sealed with data key %d", fresh.ring.current)

    def _write_node_key(self) -> None:
        pem = self.unseal(self._node_key_path.read_bytes())
        write_file(self._node_key_path, self.node_key_on_disk(pem), _KEY_MODE)
