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
"""Whether the store has the node of that id as a manager."""

BackgroundTask = Callable[[], Coroutine[Any, Any, None]]
"""Work beside ``Engine.run``: a coroutine that runs until it is cancelled, or ends when nothing is left to do."""


class ConsensusBackend(Protocol):
    """``connect`` comes first and once."""

    @property
    def replays_log(self) -> bool:
        """Whether a manager that starts goes through older states of the store before it has the present one."""
        ...

    def connect(self, machine: StateMachine) -> Consensus:
        """The consensus for the store's state machine."""
        ...

    def raft_service(self, is_manager: IsManager) -> Any:
        """What answers other managers on the Raft service."""
        ...

    def key_service(self, is_manager: IsManager) -> Any:
        """What answers managers that ask for the key of a store outside of them."""
        ...

    def background_tasks(self, store: Store) -> tuple[BackgroundTask, ...]: ...

    async def reencrypt(self, ring: KeyRing) -> None:
        """Seals all that it keeps on this manager's disk with the ring's current key, while it serves; nothing to do where it keeps
        nothing there. StorageError when a file cannot be written.
        """
        ...

    async def run(self) -> None:
        """Until ``close``.

        Raises:
            RemovedError: this manager was removed from the group; others as the engine says. All of them may come in a group.
        """
        ...

    async def close(self) -> None:
        """Hands leadership over if there is anybody to take it, then ends ``run``."""
        ...

    def members(self) -> tuple[Member, ...]: ...

    async def remove_members(self, node_ids: Collection[str]) -> None:
        """Leader only, all at once; no effect on nodes that are no members."""
        ...

    async def transfer_leadership(self, among: Collection[str]) -> None:
        """Leader only: gives leadership to one of these nodes. Raises UnavailableError when none of them takes it."""
        ...
