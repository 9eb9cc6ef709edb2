"""A manager's Raft node: implements the store's `Consensus` and manages the members of the group.

Invariant: an acknowledged proposal is on the disks of a majority and applied here. Membership changes run one at a
time, use joint consensus if they affect several voters, and add new members as learners.
Created by `RaftBackend` through `RaftNode.open`, after `create_group` or `create_member` has prepared the directory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from covey.errors import DeadlineError, UnavailableError
from covey.task_group import TaskGroup
from manager.keys.key_ring import KeyRing
from manager.raft import leadership_transfer, membership_change
from manager.raft.disk import Disk, MemberIdentity
from manager.raft.driver import RaftDriver, RaftTuning
from manager.raft.peer import Credentials
from manager.raft.peer_messages import PeerMessages
from manager.store.consensus import Leadership, Member, OutcomeUnknownError, RemovedError, StateMachine

log = logging.getLogger(__name__)

PROPOSE_SECONDS = 10.0
READ_SECONDS = 5.0
_REMOVAL_GRACE_SECONDS = 0.5


class RaftNode:
    """Works while ``run`` runs. All methods belong to one event loop."""

    def __init__(self, driver: RaftDriver) -> None:
        self._driver = driver
        self.peer_messages = PeerMessages(driver)

    @classmethod
    def open(
        cls,
        folder: Path,
        ring: KeyRing,
        machine: StateMachine,
        credentials: Credentials,
        tuning: RaftTuning | None = None,
        *,
        addr: str = "",
    ) -> RaftNode:
        """Locks and reads the directory and restores the state machine from the latest snapshot. Blocking.
        ``addr`` is HOST:PORT of this node's listener; the peers are told.

        Raises:
            StorageError: the directory is in use, damaged, or not that of a member.
        """
        disk = Disk.open(folder, ring)
        try:
            return cls(RaftDriver(disk, machine, credentials, tuning or RaftTuning(), addr))
        except BaseException:
            disk.close()
            raise

    async def reencrypt(self, ring: KeyRing) -> None:
        """Encrypts everything on disk with the ring's current key, while writes continue; the ring must hold the keys in use, too.

        Raises:
            StorageError: a file cannot be read or written; after a failed write the node ends.
        """
        await self._driver.disk.reencrypt(ring)

    @property
    def identity(self) -> MemberIdentity:
        return self._driver.disk.identity

    def configure(
        self, *, snapshot_interval: int, log_entries_for_slow_followers: int, keep_old_snapshots: int = 0
    ) -> None:
        """Applies the cluster's settings; they take effect with the next snapshot."""
        self._driver.configure(
            msgspec.structs.replace(
                self._driver.tuning,
                snapshot_interval=snapshot_interval,
                log_entries_for_slow_followers=log_entries_for_slow_followers,
                keep_old_snapshots=keep_old_snapshots,
            )
        )

    async def run(self) -> None:
        """Runs until ``close``.

        Raises:
            RemovedError: this manager was removed from the group.
            StorageError, InvariantError: this manager must stop; wrapped in an ExceptionGroup.
        """
        removed = self._driver.applied.removed
        async with TaskGroup() as tasks:
            watcher = tasks.create_task(self._stop_when(removed))
            await self._driver.run()
            watcher.cancel()
        if removed.is_set():
            raise RemovedError("this manager was removed from the cluster")

    async def _stop_when(self, removed: asyncio.Event) -> None:
        await removed.wait()
        await asyncio.sleep(_REMOVAL_GRACE_SECONDS)  # so that the caller of the removal gets its reply
        self._driver.stop()

    def report_removed(self) -> None:
        """A peer says that this node is no longer a member: ``run`` ends."""
        self._driver.report_removed()

    async def close(self) -> None:
        """Hands leadership to another manager if one is reachable, then ends ``run``."""
        try:
            await self.transfer_leadership()
        except (DeadlineError, UnavailableError) as error:
            log.info("stopping without a leadership transfer: %s", error)
        self._driver.stop()

    # Consensus.

    @property
    def leadership(self) -> Leadership:
        return self._driver.leadership.value

    @property
    def unavailable_reason(self) -> str:
        return ""

    @contextmanager
    def subscribe(self) -> Iterator[AsyncIterator[Leadership]]:
        with self._driver.leadership.subscribe() as changes:
            yield changes

    async def propose(self, data: bytes) -> int:
        membership_change.require_leader(self._driver)
        try:
            async with asyncio.timeout(PROPOSE_SECONDS):
                return await self._driver.propose(data)
        except TimeoutError:
            raise OutcomeUnknownError(
                f"no majority of managers confirmed the write within {PROPOSE_SECONDS:.0f} s; whether it takes effect is unknown"
            ) from None

    async def read_index(self) -> int:
        """Returns when everything acknowledged before the call is applied here, so that ``view`` is fresh. On any member.

        Raises:
            DeadlineError: no majority confirmed a leader in time.
        """
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await self._driver.read()
        except TimeoutError:
            raise DeadlineError(
                f"no majority confirmed a leader within {READ_SECONDS:.0f} s; try again shortly"
            ) from None

    def members(self) -> tuple[Member, ...]:
        """All members by raft id, each with its reachability as seen from this manager."""
        reachable = self._driver.reachable_ids()
        members = sorted(self._driver.applied.members.values(), key=lambda member: member.raft_id)
        return tuple([msgspec.structs.replace(m, reachable=m.raft_id in reachable) for m in members])

    def last_heard_seconds(self, node_id: str) -> float | None:
        """As `Consensus.last_heard_seconds`."""
        member = next((found for found in self._driver.applied.members.values() if found.node_id == node_id), None)
        return self._driver.transport.last_heard_seconds(member.raft_id) if member is not None else None

    # Membership. Only the leader changes it; other members raise NotLeaderError.

    async def add_member(self, node_id: str, addr: str, raft_id: int = 0) -> Member:
        """As `membership_change.add_member`."""
        return await membership_change.add_member(self._driver, node_id, addr, raft_id)

    async def remove_members(self, node_ids: Collection[str]) -> None:
        """As `membership_change.remove_members`. Nodes that are no members are skipped."""
        await membership_change.remove_members(self._driver, node_ids)

    async def transfer_leadership(self, among: Collection[str] | None = None) -> None:
        """As `leadership_transfer.transfer_leadership`."""
        await leadership_transfer.transfer_leadership(self._driver, among)
