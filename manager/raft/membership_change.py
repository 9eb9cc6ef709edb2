"""Membership changes on the leader: adds, moves and removes members, and guards the quorum.

Invariant: before a removal, a majority of the remaining voters must be reachable and must have written a recent entry
to disk; a member with a stalled disk still answers heartbeats while there is nothing to write. The check runs in the
same turn as the proposal, so the second of two concurrent removals sees the first. Called by `manager.raft.node.RaftNode`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping

import msgspec

from covey.errors import DeadlineError, NotFoundError
from manager.raft.core import ChangeKind, ConfChange, ConfChangeRefused, ProposalDropped
from manager.raft.driver import RaftDriver
from manager.raft.leadership_transfer import transfer_leadership
from manager.raft.membership import (
    add_change,
    has_quorum,
    multi_change,
    remaining_voters,
    remove_change,
    require_quorum_without,
)
from manager.raft.peer import UNREACHABLE_SECONDS
from manager.store.consensus import Member, NotLeaderError

CHANGE_SECONDS = 15.0
_RETRY_SECONDS = 0.05
_POLL_SECONDS = 0.02


async def add_member(driver: RaftDriver, node_id: str, addr: str, raft_id: int = 0) -> Member:
    """Adds a node as a learner, which later becomes a voter by itself; with ``raft_id`` updates the address of that member.

    A node that is a member already but comes without its ``raft_id`` has lost its state: its old membership ends in the
    same change.

    Raises:
        NotLeaderError, DeadlineError, ConflictError; NotFoundError: ``raft_id`` is no longer a member.
    """
    require_leader(driver)
    known = next((m for m in driver.applied.members.values() if m.node_id == node_id), None)
    if raft_id:
        if known is None or known.raft_id != raft_id:
            raise NotFoundError(f"manager {node_id} is no longer a member of this cluster; join again")
        moved = msgspec.structs.replace(known, addr=addr)
        if known.addr != addr:
            kind = ChangeKind.ADD_VOTER if known.voter else ChangeKind.ADD_LEARNER
            await MembershipChange(driver, add_change(kind, moved)).run()
        return moved
    member = Member(raft_id=secrets.randbits(62) + 1, node_id=node_id, addr=addr, voter=False)
    if known is None:
        await MembershipChange(driver, add_change(ChangeKind.ADD_LEARNER, member)).run()
    else:
        change = multi_change([(ChangeKind.ADD_LEARNER, member)], [known.raft_id])
        await MembershipChange(driver, change, {known.raft_id: node_id}).run()
    return member


async def remove_members(driver: RaftDriver, node_ids: Collection[str]) -> None:
    """Removes the members among these nodes by one change, joint if several of them vote; returns when they are removed.
    A leader among them first hands leadership to a member that stays.

    Raises:
        ConflictError: the remaining voters would have no quorum, and nothing is changed.
        NotLeaderError: this manager does not lead, or no longer; DeadlineError.
    """
    require_leader(driver)
    members = driver.applied.members
    leaving = {raft_id: m.node_id for raft_id, m in sorted(members.items()) if m.node_id in node_ids}
    if not leaving:
        return
    if driver.id in leaving:
        require_quorum_without(driver.status().conf_state, driver.reachable_ids(), leaving)
        await transfer_leadership(driver, [m.node_id for m in members.values() if m.raft_id not in leaving])
        raise NotLeaderError(driver.leadership.value.leader_addr)
    await MembershipChange(driver, remove_change(leaving), leaving).run()
    try:
        async with asyncio.timeout(CHANGE_SECONDS):
            while not leaving.keys().isdisjoint(driver.applied.members):  # noqa: ASYNC110 - the core leaves joint consensus
                await asyncio.sleep(_RETRY_SECONDS)
    except TimeoutError:
        raise DeadlineError(
            f"the removal of the managers {', '.join(leaving.values())} has begun, but no majority confirmed its last step "
            f"within {CHANGE_SECONDS:.0f} s; it completes when a majority does"
        ) from None


def require_leader(driver: RaftDriver) -> None:
    """Raises NotLeaderError."""
    leadership = driver.leadership.value
    if not leadership.is_leader:
        raise NotLeaderError(leadership.leader_addr)


class MembershipChange:
    """One change, to be run once. ``leaving`` maps the raft ids of removed members to the names of their nodes."""

    def __init__(self, driver: RaftDriver, change: ConfChange, leaving: Mapping[int, str] | None = None) -> None:
        self._driver = driver
        self._change = change
        self._leaving = leaving or {}
        self._writing: set[int] = set()
        self._last_refusal = ""

    async def run(self) -> None:
        """Returns when the change is applied. Waits for an earlier change to be applied first.

        Raises:
            ConflictError: the remaining voters would have no quorum, and nothing is changed; NotLeaderError, DeadlineError.
        """
        try:
            async with asyncio.timeout(CHANGE_SECONDS):
                if self._leaving:
                    await self._find_writing_members()
                await self._propose(self._change, self._require_quorum)
        except TimeoutError:
            raise DeadlineError(
                f"the membership change was not confirmed within {CHANGE_SECONDS:.0f} s{self._last_refusal}; check the "
                "members before you try again"
            ) from None

    def _require_quorum(self) -> None:
        able = self._driver.reachable_ids() & self._writing
        require_quorum_without(self._driver.status().conf_state, able, self._leaving)

    async def _propose(self, change: ConfChange, check: Callable[[], None]) -> int:
        """Proposes until the core accepts the change; returns the index at which it is applied."""
        while True:
            try:
                return await self._driver.change_members(change, check)
            except (ConfChangeRefused, ProposalDropped) as error:
                self._last_refusal = f" ({error})"
            await asyncio.sleep(_RETRY_SECONDS)

    async def _find_writing_members(self) -> None:
        """Finds the members that have a new entry on disk: waits for enough of the remaining ones, or until the time that counts
        as unreachable has passed.
        """
        driver = self._driver
        require_quorum_without(driver.status().conf_state, driver.reachable_ids(), self._leaving)
        no_change = ConfChange.of(ChangeKind.ADD_VOTER, driver.id)
        index = await self._propose(no_change, lambda: None)
        end = asyncio.get_running_loop().time() + UNREACHABLE_SECONDS
        while not self._enough_have(index) and asyncio.get_running_loop().time() < end:
            require_leader(driver)
            await asyncio.sleep(_POLL_SECONDS)

    def _enough_have(self, index: int) -> bool:
        status = self._driver.status()
        self._writing = {raft_id for raft_id, peer in status.peers.items() if peer.match >= index}
        return has_quorum(remaining_voters(status.conf_state, self._leaving), self._writing)
