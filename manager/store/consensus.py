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
    """This manager is not the leader; nothing was proposed.

    ``leader_addr`` is HOST:PORT of the leader's mTLS listener, empty while there is no leader.
    """

    def __init__(self, leader_addr: str = "") -> None:
        where = f"; ask the leader at {leader_addr}" if leader_addr else "; there is no leader now, try again shortly"
        super().__init__(f"this manager does not lead the cluster{where}")
        self.leader_addr = leader_addr


class OutcomeUnknownError(DeadlineError):
    """The change was proposed, and it is unknown whether it takes effect. Every other error means that it does not."""


class RefusedError(ConflictError):
    """Nothing was changed: an object has another version than the proposal expects. The state machine is not called."""


class RemovedError(Exception):
    """This manager is not a member of the group any more."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A manager in the group. ``reachable`` is as seen from this manager; ``addr`` is HOST:PORT of its mTLS listener."""

    raft_id: int
    node_id: str
    addr: str = ""
    voter: bool = True
    reachable: bool = True


class Leadership(msgspec.Struct, frozen=True, kw_only=True):
    """``is_leader`` only once all entries of earlier terms are applied here. ``leader_id`` 0 and ``leader_addr`` "": unknown."""

    is_leader: bool = False
    leader_id: int = 0
    leader_addr: str = ""
    term: int = 0


class StateMachine(Protocol):
    """The state machine above a consensus. Called on the event loop and never concurrently, except where a method runs in a thread."""

    def apply(self, index: int, data: bytes) -> None:
        """Applies a committed entry."""
        ...

    def dropped(self, request_id: int) -> None:
        """A transaction will never take effect. Called only if its proposer was cancelled, because no caller receives the error."""
        ...

    def snapshot(self, members: tuple[Member, ...]) -> Callable[[], bytes]:
        """Captures the state at the last applied entry. The returned function encodes it, later and in a thread."""
        ...

    def decode(self, index: int, data: bytes) -> Callable[[], tuple[Member, ...]]:
        """Decodes a snapshot, in a thread. The returned function replaces the whole state with it and returns its members. It is called on
        the event loop, later or never.
        """
        ...


class Consensus(Protocol):
    """Replicates the store's transactions, or keeps them in an external store."""

    @property
    def leadership(self) -> Leadership: ...

    @property
    def unavailable_reason(self) -> str:
        """Human-readable reason why an external store accepts no changes now. Empty while it does, and on Raft."""
        ...

    def subscribe(self) -> AbstractContextManager[AsyncIterator[Leadership]]:
        """Yields the present leadership, then each change. A slow reader receives only the latest."""
        ...

    async def propose(self, data: bytes) -> int:
        """Proposes a transaction. Returns its log index once it is committed and applied here.

        Raises:
            OutcomeUnknownError: leadership was lost meanwhile, or no majority answered in time.
            NotLeaderError, UnavailableError, RefusedError: the transaction has no effect and never will.
        """
        ...

    async def read_index(self) -> int:
        """Returns once everything that was acknowledged before the call is applied here, confirmed by a majority.

        Raises:
            DeadlineError: no majority answered in time.
        """
        ...

    def members(self) -> tuple[Member, ...]: ...

    def last_heard_seconds(self, node_id: str) -> float | None:
        """Seconds since the last message of the manager on that node arrived; None if none did, or managers exchange none."""
        ...
