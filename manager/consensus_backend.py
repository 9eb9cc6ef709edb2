"""Interface of a consensus backend: what a manager process needs besides the consensus itself.

Invariant: ``manager.main`` uses a backend through this interface only, so nothing above depends on which one runs.
Implemented by ``manager.raft.backend`` (the managers replicate the state) and ``manager.etcd.backend`` (an external etcd keeps it).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from typing import Any, Protocol

from manager.keys.key_ring import KeyRing
from manager.store import Consensus, Member, StateMachine, Store

IsManager = Callable[[str], bool]
"""Whether the node with that id is a manager, according to the store."""

BackgroundTask = Callable[[], Coroutine[Any, Any, None]]
"""Work beside ``ConsensusBackend.run``: a coroutine that runs until it is cancelled or has nothing left to do."""


class ConsensusBackend(Protocol):
    """What a manager process needs of a backend. ``connect`` is called first, and once."""

    @property
    def replays_log(self) -> bool:
        """Whether a manager that starts applies older states of the store before the present one."""
        ...

    def connect(self, machine: StateMachine) -> Consensus:
        """Makes the consensus for the store's state machine."""
        ...

    def raft_service(self, is_manager: IsManager) -> Any:
        """The servicer of the Raft service, for other managers."""
        ...

    def key_service(self, is_manager: IsManager) -> Any:
        """The servicer that sends the key of an external store to other managers."""
        ...

    def background_tasks(self, store: Store) -> tuple[BackgroundTask, ...]:
        """Work that runs as long as the manager, also while it does not lead."""
        ...

    async def reencrypt(self, ring: KeyRing) -> None:
        """Encrypts the backend's files on this manager's disk with the ring's current key, while the backend serves.

        Raises:
            StorageError: a file cannot be written; OSError: it cannot start now.
        """
        ...

    async def run(self) -> None:
        """Runs until ``close``.

        Raises:
            RemovedError: this manager was removed from the group; other errors of the backend. All of them may be in an exception group.
        """
        ...

    async def close(self) -> None:
        """Hands leadership over if another manager can lead, then ends ``run``."""
        ...

    def members(self) -> tuple[Member, ...]: ...

    async def remove_members(self, node_ids: Collection[str]) -> None:
        """Removes members in one step. Leader only. No effect on nodes that are not members."""
        ...

    async def transfer_leadership(self, among: Collection[str]) -> None:
        """Gives leadership to one of these nodes. Leader only. Raises UnavailableError if none of them takes it."""
        ...
