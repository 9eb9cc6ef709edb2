"""Membership state on disk: node record, identity, manager files and the cached unlock keys.

Invariant: ``node.json`` decides. While it exists the node belongs to its cluster; once it is gone, everything else here is a leftover
that is removed, at the next start if the daemon stopped before. Owned by ``node.membership``, shared with its sessions.
"""

import asyncio
import shutil
from pathlib import Path

from agent.identity import IdentityStore
from manager.interface import has_raft_state, remove_store_key
from node.manager_state import remove_manager_state
from node.node_record import NodeRecord, NodeRecordFile
from node.unlock_key_cache import UnlockKeyCache


class MembershipState:
    """All files of this host's membership, below the daemon's state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.records = NodeRecordFile(state_dir)
        self.unlock_keys = UnlockKeyCache(state_dir)
        self.identities = IdentityStore(state_dir, self.unlock_keys.unseal)
        self._manager_dir = state_dir / "manager"

    def is_locked(self, record: NodeRecord) -> bool:
        """Whether this node needs an unlock key that the daemon does not have."""
        return self.unlock_keys.is_locked(record.role)

    def has_raft_state(self) -> bool:
        """Whether a manager that starts now finds Raft state to continue with."""
        return has_raft_state(self._manager_dir)

    def has_leftovers(self) -> bool:
        """Whether files are left of an init, join or leave that was interrupted."""
        return self.identities.folder.exists() or self._manager_dir.exists()

    async def remove_manager(self, *, keep_log: bool) -> None:
        """Remove the manager's files and its key to the external store. The data keys stay, because the node's own key is still sealed
        with them. With ``keep_log`` the Raft log is moved aside instead of deleted.
        """
        remove_store_key(self.identities.folder)
        await asyncio.to_thread(remove_manager_state, self._manager_dir, keep_log=keep_log)

    async def remove_manager_keys(self) -> None:
        """Store the node's key unsealed, then remove the data keys: a worker has no unlock key."""
        await asyncio.to_thread(self.identities.store_key_unsealed)
        await self._remove_manager_dir()

    async def remove_identity(self) -> None:
        """Remove everything except the node record, which the caller removes first."""
        self.identities.remove()
        await self._remove_manager_dir()

    async def _remove_manager_dir(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self._manager_dir, ignore_errors=True)
        self.unlock_keys.clear()
