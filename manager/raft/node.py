"""A manager's Raft node: implements the store's `Consensus` and manages the members of the group.

Invariant: an acknowledged proposal is on the disks of a majority and applied here. Membership changes run one at a
time, use joint consensus if they affect several voters, and add new members as learners.
Created by `RaftBackend` through `RaftNode.open`, after `create_group` or `create_member` has prepared the directory.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from covey.errors import DeadlineError, NotFoundError, PermissionDeniedError, UnavailableError
from manager.keys.key_ring import KeyRing
from manager.raft.core import ChangeKind, Message, RawNode
from manager.raft.disk import Disk, MemberIdentity
from manager.raft.driver import RaftDriver, RaftSettings
from manager.raft.membership import add_change, multi_change, remove_change, require_quorum_without, transfer_target
from manager.raft.membership_change import CHANGE_SECONDS, MembershipChange
from manager.raft.peer import Credentials
from manager.storage_errors import RemovedError
from manager.store.consensus import Leadership, Member, NotLeaderError, OutcomeUnknownError, StateMachine

log = logging.getLogger(__name__)

PROPOSE_SECONDS = 10.0
TRANSFER_SECONDS = 3.0
READ_SECONDS = 5.0
_RETRY_SECONDS = 0.05
_REMOVAL_GRACE_SECONDS = 0.5


class RaftNode:
    """Runs while ``run`` does. All methods belong to one event loop."""

    def __init__(self, driver: RaftDriver) -> None:
        self._driver = driver

    @classmethod
    def open(
        cls,
        folder: Path,
        ring: KeyRing,
        machine: StateMachine,
        credentials: Credentials,
        tuning: RaftSettings | None = None,
        *,
        addr: str = "",
    ) -> RaftNode:
        """Locks the folder, reads what is there and restores the state machine from the latest snapshot; blocking.
        ``addr`` is HOST:PORT of this node's listener now, which its peers are told.

        Raises:
            StorageError: the folder is in use, damaged, or of no member.
        """
        disk = Disk.open(folder, ring)
        try:
            return cls(RaftDriver(disk, machine, credentials, tuning or RaftSettings(), addr))
        except BaseException:
            disk.close()
            raise

    async def reencrypt(self, ring: KeyRing) -> None:
        """Seals everything on the disk with the ring's current key, while writes go on; the ring must hold the keys in use so far too.

        Raises:
            StorageError: a file cannot be read or written; when it was a write, the node ends.
        """
        await self._driver.disk.reencrypt(ring)

    @property
    def identity(self) -> MemberIdentity:
        return self._driver.disk.identity

    def configure(
        self, *, snapshot_interval: int, log_entries_for_slow_followers: int, keep_old_snapshots: int = 0
    ) -> None:
        """Takes over the cluster's settings; they count from the next snapshot on."""
        self._driver.configure(
            msgspec.structs.replace(
                self._driver.tuning,
                snapshot_interval=snapshot_interval,
                log_entries_for_slow_followers=log_entries_for_slow_followers,
                keep_old_snapshots=keep_old_snapshots,
            )
        )

    async def run(self) -> None:
        """Until ``close``.

        Raises:
            RemovedError: this manager was removed from the group.
            StorageError, InvariantError: this manager must stop; wrapped in an ExceptionGroup.
        """
        async with asyncio.TaskGroup() as tasks:
            watcher = tasks.create_task(self._stop_when_removed())
            await self._driver.run()
            watcher.cancel()
        if self._driver.removed.is_set():
            raise RemovedError("this manager was removed from the cluster")

    async def _stop_when_removed(self) -> None:
        await self._driver.removed.wait()
        await asyncio.sleep(_REMOVAL_GRACE_SECONDS)  # so that whoever asked for it gets the answer
        self._driver.stop()

    async def close(self) -> None:
        """Hands leadership over if there is anybody to take it, then ends ``run``."""
        try:
            await self.transfer_leadership()
        except (DeadlineError, UnavailableError) as error:
            log.info("stopping without handing over leadership: %s", error)
        self._driver.stop()

    # Consensus.

    @property
    def leadership(self) -> Leadership:
        return self._driver.leadership.value

    @contextmanager
    def subscribe(self) -> Iterator[AsyncIterator[Leadership]]:
        with self._driver.leadership.subscribe() as changes:
            yield changes

    async def propose(self, data: bytes) -> int:
        leadership = self.leadership
        if not leadership.is_leader:
            raise NotLeaderError(leadership.leader_addr)
        try:
            async with asyncio.timeout(PROPOSE_SECONDS):
                return await self._driver.propose(data)
        except TimeoutError:
            raise OutcomeUnknownError(
                f"no majority of managers confirmed the write within {PROPOSE_SECONDS:.0f} s; whether it takes effect is unknown"
            ) from None

    def members(self) -> tuple[Member, ...]:
        """All members, each as this manager sees it now."""
        reachable = self._driver.reachable_ids()
        members = sorted(self._driver.members.values(), key=lambda member: member.raft_id)
        return tuple([msgspec.structs.replace(m, reachable=m.raft_id in reachable) for m in members])

    async def read_index(self) -> int:
        """Returns when everything acknowledged before the call is applied here, so that ``view`` is fresh; on any member.

        Raises:
            DeadlineError: no majority confirmed the leader in time.
        """
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await self._driver.read()
        except TimeoutError:
            raise DeadlineError(f"no leader was confirmed within {READ_SECONDS:.0f} s; try again shortly") from None

    # The group.

    def receive(self, message: Message, sender: str) -> None:
        """A message of a peer, no snapshot. Raises as ``_admit``."""
        if self._accepts(message, sender):
            self._driver.receive(message)

    async def receive_snapshot(self, message: Message, sender: str) -> None:
        """Returns once it is read. Raises as ``_admit``; UnavailableError: another one is being read."""
        if self._accepts(message, sender):
            await self._driver.receive_snapshot(message)

    def update_peer_address(self, sender: str, raft_id: int, addr: str) -> None:
        """``sender`` says that it is that member, and where. One that moved is found so before a majority can write its address down.

        Raises:
            NotFoundError: it is no member any more.
        """
        members = self._driver.members
        if raft_id in self._driver.removed_ids or (self.leadership.is_leader and raft_id not in members):
            raise NotFoundError(f"raft member {raft_id:x} was removed from the cluster")
        if raft_id in members and members[raft_id].node_id == sender:
            self._driver.transport.set_peer_address(raft_id, addr)

    def report_removed(self) -> None:
        """A peer says that this node is no member any more: ``run`` ends."""
        self._driver.report_removed()

    def _accepts(self, message: Message, sender: str) -> bool:
        """Whether to take up a message of a peer, which ``sender`` (a node id, from its certificate) brought. A member that is not known
        here may be one that this manager has not heard of yet. A voter takes its messages while it follows nobody (when it hears no more
        of its leader, it soon does not), or follows just that one; who is no voter yet takes all.

        Raises:
            NotFoundError: the member was removed from the group; PermissionDeniedError: the sender is not that member.
        """
        if message.from_ in self._driver.removed_ids:
            raise NotFoundError(f"raft member {message.from_:x} was removed from the cluster")
        members = self._driver.members
        member, own = members.get(message.from_), members.get(self._driver.id)
        following = self.leadership.leader_id not in {0, message.from_}
        if member is None and following and own is not None and own.voter:
            raise PermissionDeniedError(f"node {sender} sends as raft member {message.from_:x}, which is not one")
        if member is not None and member.node_id != sender:
            raise PermissionDeniedError(f"node {sender} may not send as manager {member.node_id}")
        if message.to != self._driver.id:
            return False  # meant for a membership that this node had before
        self._driver.transport.record_received(message.from_)
        return True

    def peer_disconnected(self, sender: str) -> None:
        """The stream on which a node (an id, from its certificate) sent its messages has ended: its process, most likely."""
        for member in self._driver.members.values():
            if member.node_id == sender:
                self._driver.suspect_leader(member.raft_id)

    async def add_member(self, node_id: str, addr: str, raft_id: int = 0) -> Member:
        """Leader only: a newcomer becomes a learner (a voter by itself once it has caught up), a member's new address is told.

        Raises:
            NotLeaderError, DeadlineError, ConflictError; NotFoundError: ``raft_id`` is not a member (any more).
        """
        self._require_leading()
        known = next((m for m in self.members() if m.node_id == node_id), None)
        if raft_id:
            if known is None or known.raft_id != raft_id:
                raise NotFoundError(f"manager {node_id} is not a member of this cluster any more; join again")
            if known.addr != addr:
                kind = ChangeKind.ADD_VOTER if known.voter else ChangeKind.ADD_LEARNER
                await MembershipChange(self._driver, add_change(kind, msgspec.structs.replace(known, addr=addr))).run()
            return msgspec.structs.replace(known, addr=addr)
        member = Member(raft_id=secrets.randbits(62) + 1, node_id=node_id, addr=addr, voter=False)
        if known is None:
            await MembershipChange(self._driver, add_change(ChangeKind.ADD_LEARNER, member)).run()
        else:  # it comes without its former state: that membership ends in the same step
            change = multi_change([(ChangeKind.ADD_LEARNER, member)], [known.raft_id])
            await MembershipChange(self._driver, change, {known.raft_id: node_id}).run()
        return member

    async def remove_member(self, node_id: str) -> None:
        """As ``remove_members``, of one."""
        await self.remove_members((node_id,))

    async def remove_members(self, node_ids: Collection[str]) -> None:
        """Leader only; returns when they are members no more, all by one change (joint where several vote). Who is no member is skipped.
        A leader among them hands leadership over first, to one that stays.

        Raises:
            ConflictError: too few would answer; nothing is changed.
            NotLeaderError: this manager does not lead, or not any more; DeadlineError.
        """
        self._require_leading()
        leaving = {m.raft_id: m.node_id for m in self.members() if m.node_id in node_ids}
        if not leaving:
            return
        if self._driver.id in leaving:
            require_quorum_without(self._driver.status().conf_state, self._driver.reachable_ids(), leaving)
            await self.transfer_leadership(among=[m.node_id for m in self.members() if m.raft_id not in leaving])
            raise NotLeaderError(self.leadership.leader_addr)
        await MembershipChange(self._driver, remove_change(leaving), leaving).run()
        try:
            async with asyncio.timeout(CHANGE_SECONDS):
                while not leaving.keys().isdisjoint(self._driver.members):  # noqa: ASYNC110 - joint consensus is left by the core
                    await asyncio.sleep(_RETRY_SECONDS)
        except TimeoutError:
            raise DeadlineError(
                f"the managers {', '.join(leaving.values())} are on their way out, but no majority confirmed the last step within "
                f"{CHANGE_SECONDS:.0f} s; it is taken once one does"
            ) from None

    async def transfer_leadership(self, among: Collection[str] | None = None) -> None:
        """Gives leadership to the best follower, of these nodes if told so; returns when this node follows. No effect on a follower or
        a lone manager.

        Raises:
            UnavailableError: none of them answers; DeadlineError: nobody took it.
        """
        if not self.leadership.is_leader or len(self._driver.status().conf_state.voters) == 1:
            return
        to = transfer_target(
            self._driver.status(), [m.raft_id for m in self.members() if among is None or m.node_id in among]
        )
        if to is None:
            raise UnavailableError("no other manager answers that could lead")

        def transfer(node: RawNode) -> None:
            node.transfer_leader(to)

        try:
            async with asyncio.timeout(TRANSFER_SECONDS):
                with self.subscribe() as changes:
                    self._driver.call(transfer)
                    async for leadership in changes:
                        if not leadership.is_leader and leadership.leader_id not in (0, self._driver.id):
                            return
        except TimeoutError:
            raise DeadlineError(f"no other manager took over leadership within {TRANSFER_SECONDS:.0f} s") from None

    def _require_leading(self) -> None:
        if not self.leadership.is_leader:
            raise NotLeaderError(self.leadership.leader_addr)
