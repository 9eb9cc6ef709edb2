"""Interface between the store and its consensus: propose bytes, wait for the commit, follow leadership and members.

Invariant: the state machine receives committed entries in log order, each once in a process's life, or a snapshot instead. What it makes of
them depends only on their content. Implemented by ``manager.raft``, ``manager.etcd`` and, for tests, ``manager.store.memory_consensus``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from covey.errors import ConflictError, DeadlineError, UnavailableError


class NotLeaderError(UnavailableError):
    """This manager does not lead, and nothing was proposed.

    ``leader_addr`` is the leader's HOST:PORT for mTLS, empty while nobody leads.
    """

    def __init__(self, leader_addr: str = "") -> None:
        where = f"; ask the leader at {leader_addr}" if leader_addr else "; there is no leader now, try again shortly"
        super().__init__(f"this manager does not lead the cluster{where}")
        self.leader_addr = leader_addr


class OutcomeUnknownError(DeadlineError):
    """The change was proposed, and nobody can say whether it took or will take effect. Every other error means that it did not."""


class RefusedError(ConflictError):
    """Nothing was changed, for an object is not at the version that the proposal was made from; the state machine hears nothing of it."""


class RemovedError(Exception):
    """This manager is not a member of the group any more."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A manager in the group. ``reachable`` is this manager's own opinion; ``addr`` is HOST:PORT of its mTLS listener."""

    raft_id: int
    node_id: str
    addr: str = ""
    voter: bool = True
    reachable: bool = True


class Leadership(msgspec.Struct, frozen=True, kw_only=True):
    """``is_leader`` only once everything of earlier terms is applied here. ``leader_id`` 0 and ``leader_addr`` "": nobody known."""

    is_leader: bool = False
    leader_id: int = 0
    leader_addr: str = ""
    term: int = 0


class StateMachine(Protocol):
    """What stands above a consensus. But for what is said to run in a thread it is called on the event loop, never concurrently."""

    def apply(self, index: int, data: bytes) -> None:
        """One committed entry."""
        ...

    def dropped(self, request_id: int) -> None:
        """A transaction whose proposer was cancelled will never take effect: nobody else hears of that."""
        ...

    def snapshot(self, members: tuple[Member, ...]) -> Callable[[], bytes]:
        """The state as of the last applied entry, captured at once; the encoding may run later, in a thread."""
        ...

    def decode(self, index: int, data: bytes) -> Callable[[], tuple[Member, ...]]:
        """Reads a snapshot, in a thread, for it may take long. What it returns replaces the whole state by the snapshot's, called on
        the event loop later or never, and tells the members that the snapshot names.
        """
        ...


class Consensus(Protocol):
    @property
    def leadership(self) -> Leadership: ...

    def subscribe(self) -> AbstractContextManager[AsyncIterator[Leadership]]:
        """The present leadership, then each change of it; a slow reader sees the latest alone."""
        ...

    async def propose(self, data: bytes) -> int:
        """Returns the log index once committed and applied here.

        Raises:
            OutcomeUnknownError: leadership was lost meanwhile, or no majority answered in time.
            NotLeaderError, UnavailableError, RefusedError: nothing was proposed, or nothing of it will ever take effect.
        """
        ...

    async def read_index(self) -> int:
        """Returns when everything acknowledged before the call is applied here, as a majority confirms.

        Raises:
            DeadlineError: no majority did in time.
        """
        ...

    def members(self) -> tuple[Member, ...]: ...
