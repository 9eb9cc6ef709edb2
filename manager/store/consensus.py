"""The seam under the store: propose bytes and wait until they are committed; learn of leadership and of the members.

Law: the state machine is told of committed entries in log order, exactly once in a process's life or by a snapshot instead,
and what it makes of them depends on their content alone. Implemented by ``manager.raft`` and, for one process without a
disk, by ``manager.store.memory``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from covey.errors import UnavailableError


class NotLeaderError(UnavailableError):
    """This manager does not lead. ``leader_addr`` is the leader's HOST:PORT for mTLS, empty while nobody leads."""

    def __init__(self, leader_addr: str = "") -> None:
        where = f"; ask the leader at {leader_addr}" if leader_addr else "; there is no leader now, try again shortly"
        super().__init__(f"this manager does not lead the cluster{where}")
        self.leader_addr = leader_addr


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
    """What stands above a consensus. All of it is called on the event loop, never concurrently."""

    def apply(self, index: int, data: bytes) -> None:
        """One committed entry."""
        ...

    def snapshot(self, members: tuple[Member, ...]) -> Callable[[], bytes]:
        """The state as of the last applied entry, captured at once; the encoding may run later, in a thread."""
        ...

    def restore(self, index: int, data: bytes) -> tuple[Member, ...]:
        """Replaces the whole state by a snapshot's; returns the members that it names."""
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
            NotLeaderError: nothing was proposed, or leadership was lost meanwhile and the outcome is unknown.
            DeadlineError: no majority answered in time; the outcome is unknown.
        """
        ...

    async def read_index(self) -> int:
        """Returns when everything acknowledged before the call is applied here, as a majority confirms.

        Raises:
            DeadlineError: no majority did in time.
        """
        ...

    def members(self) -> tuple[Member, ...]: ...
