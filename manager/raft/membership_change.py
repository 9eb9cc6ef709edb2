"""Execution of one membership change on the leader: proposes it until it is applied and guards the quorum.

Invariant: before a removal, a majority of the remaining voters must be reachable and must have written a recent entry
to disk; a member with a stalled disk still answers heartbeats while there is nothing to write. The check runs in the
same turn as the proposal, so the second of two concurrent removals sees the first. Called by `node.RaftNode`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from covey.errors import DeadlineError
from manager.raft.core import ChangeKind, ConfChange, ConfChangeRefused, ProposalDropped
from manager.raft.driver import RaftDriver
from manager.raft.membership import has_quorum, remaining_voters, require_quorum_without
from manager.raft.peer import UNREACHABLE_SECONDS
from manager.store.consensus import NotLeaderError

CHANGE_SECONDS = 15.0
_RETRY_SECONDS = 0.05
_LOOK_SECONDS = 0.02


class MembershipChange:
    """Made once. Those who leave by it are given by raft ids, with the names of their nodes."""

    def __init__(self, driver: RaftDriver, change: ConfChange, leaving: Mapping[int, str] | None = None) -> None:
        self._driver = driver
        self._change = change
        self._leaving = leaving or {}
        self._writing: set[int] = set()
        self._waits_for = ""

    async def run(self) -> None:
        """Returns when the change is applied; another one may have to pass first.

        Raises:
            ConflictError: too few would be left, and nothing is changed; NotLeaderError, DeadlineError.
        """
        try:
            async with asyncio.timeout(CHANGE_SECONDS):
                if self._leaving:
                    await self._find_writing()
                await self._pass(self._change, self._require_quorum)
        except TimeoutError:
            raise DeadlineError(
                f"the membership change was not confirmed within {CHANGE_SECONDS:.0f} s{self._waits_for}; look at the members "
                "before you try again"
            ) from None

    def _require_quorum(self) -> None:
        able = self._driver.reachable_ids() & self._writing
        require_quorum_without(self._driver.status().conf_state, able, self._leaving)

    async def _pass(self, change: ConfChange, require: Callable[[], None]) -> int:
        """The index at which it is applied."""
        while True:
            try:
                return await self._driver.change_members(change, require)
            except (ConfChangeRefused, ProposalDropped) as error:
                self._waits_for = f" ({error})"
            await asyncio.sleep(_RETRY_SECONDS)

    async def _find_writing(self) -> None:
        """Who has a write of now on its disk; enough of those who stay, or as many as do within the time that counts as silence."""
        driver = self._driver
        require_quorum_without(driver.status().conf_state, driver.reachable_ids(), self._leaving)
        index = await self._pass(ConfChange.of(ChangeKind.ADD_VOTER, driver.id), lambda: None)  # says nothing new
        end = asyncio.get_running_loop().time() + UNREACHABLE_SECONDS
        while not self._enough_have(index) and asyncio.get_running_loop().time() < end:
            if not driver.leadership.value.is_leader:
                raise NotLeaderError(driver.leadership.value.leader_addr)
            await asyncio.sleep(_LOOK_SECONDS)

    def _enough_have(self, index: int) -> bool:
        status = self._driver.status()
        self._writing = {raft_id for raft_id, peer in status.peers.items() if peer.match >= index}
        return has_quorum(remaining_voters(status.conf_state, self._leaving), self._writing)
