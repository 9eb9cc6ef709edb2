"""Proposals on their way into the core: queued writes and membership changes, and the futures of both.

Invariant: a write or change is handed to the core in a turn of the driver, never from the caller's coroutine. One that
does not enter the log fails with an error that says so. Called by the driver.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from covey.errors import ConflictError, UnavailableError
from manager.raft.core import ConfChange, ConfChangeRefused, ProposalDropped, RawNode
from manager.raft.pending_proposals import IndexFuture, PendingProposals, fail
from manager.store.consensus import NotLeaderError


class Proposer:
    """The proposals of one node. Used on one event loop."""

    def __init__(self, raft_id: int, address_of: Callable[[int], str]) -> None:
        """``address_of`` returns the address of a member, or an empty string."""
        self.pending = PendingProposals()
        self._raft_id = raft_id
        self._address_of = address_of
        self._changes: list[tuple[ConfChange, Callable[[], None], IndexFuture]] = []

    def change_members(self, change: ConfChange, check: Callable[[], None]) -> IndexFuture:
        """Queues a membership change. Resolves to the index at which it is applied.

        ``check`` runs in the turn in which the change is proposed and may refuse it with a ConflictError. The future fails
        with that error, ConfChangeRefused, NotLeaderError or UnavailableError.
        """
        future: IndexFuture = asyncio.get_running_loop().create_future()
        self._changes.append((change, check, future))
        return future

    def flush(self, node: RawNode) -> None:
        """Hands everything queued to the core."""
        self._propose_writes(node)
        self._propose_changes(node)

    def close(self) -> None:
        """Fails everything."""
        self.pending.close()
        for *_, future in self._changes:
            fail(future, NotLeaderError())

    def _propose_writes(self, node: RawNode) -> None:
        accepted: list[IndexFuture] = []
        for data, future in self.pending.take_queued():
            try:
                node.propose(data)
                accepted.append(future)
            except ProposalDropped as error:
                fail(future, self._error(error))
        if accepted:
            status = node.status()
            first = status.last_index - len(accepted) + 1
            for index, future in enumerate(accepted, start=first):
                self.pending.track(index, status.term, future)

    def _propose_changes(self, node: RawNode) -> None:
        changes, self._changes = self._changes, []
        for change, check, future in changes:
            try:
                check()
                node.propose_conf_change(change)
            except ProposalDropped as error:
                fail(future, self._error(error))
            except (ConfChangeRefused, ConflictError) as error:
                fail(future, error)
            else:
                status = node.status()
                self.pending.track(status.last_index, status.term, future)

    def _error(self, dropped: ProposalDropped) -> UnavailableError:
        if dropped.leader == self._raft_id:
            return UnavailableError(f"this manager accepts no writes now: {dropped.reason}; try again shortly")
        return NotLeaderError(self._address_of(dropped.leader))
