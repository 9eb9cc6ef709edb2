"""The event loop around one `RawNode`: feeds it ticks, messages and proposals, and carries out each `Ready`.

Invariant: whatever depends on a write leaves after that write is durable, in the order that the core states. One
coroutine calls the core, so it is never re-entered. A failed write ends the node: `run` raises and the manager must
exit. Called by `manager.raft.node.RaftNode`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

import msgspec

from covey.errors import UnavailableError
from covey.task_group import TaskGroup
from manager.raft.applied_state import AppliedState
from manager.raft.compactor import Compactor
from manager.raft.core import (
    ConfChange,
    Entry,
    EntryKind,
    Message,
    ProposalDropped,
    RaftConfig,
    RawNode,
    Ready,
    Role,
    Status,
)
from manager.raft.disk import Disk
from manager.raft.leadership_state import LeadershipState
from manager.raft.learner_promotion import LearnerPromoter
from manager.raft.peer import Credentials
from manager.raft.pending_proposals import IndexFuture
from manager.raft.pending_reads import PendingReads
from manager.raft.proposer import Proposer
from manager.raft.ticker import Ticker
from manager.raft.transport import Transport
from manager.store.consensus import Leadership, StateMachine
from manager.store.observable import ObservableValue

log = logging.getLogger(__name__)

_MAX_INBOX = 8192
_APPLY_BYTES = 1 << 20
"""Bound on the entries applied per `Ready`, so that a node that catches up still answers heartbeats."""


class RaftTuning(msgspec.Struct, frozen=True, kw_only=True):
    """Times are in ticks of 100 ms; election timeouts are between ``election_tick`` and twice that. A snapshot is due after
    ``snapshot_interval`` entries or ``snapshot_bytes`` of them, but never before as many bytes as the previous snapshot had.
    """

    election_tick: int = 10
    heartbeat_tick: int = 1
    snapshot_interval: int = 10_000
    snapshot_bytes: int = 64 << 20
    log_entries_for_slow_followers: int = 500
    keep_old_snapshots: int = 0


class RaftDriver:
    """Owns one node: its core, disk, transport, applied state, and the callers that wait for it."""

    def __init__(
        self, disk: Disk, machine: StateMachine, credentials: Credentials, tuning: RaftTuning, addr: str = ""
    ) -> None:
        self.id = disk.identity.raft_id
        self.disk = disk
        self.reads = PendingReads()
        self.transport = Transport(self.id, disk.identity.cluster_id, credentials, self, disk.open_snapshot, addr=addr)
        self._compactor = Compactor(disk, self.status)
        self._proposer = Proposer(self.id, self._address_of)
        self.applied = AppliedState(disk, machine, self.transport, self._compactor, self._proposer.pending)
        self._leadership = LeadershipState(disk.storage.initial_state()[0].term, self._address_of)
        self._ticker = Ticker(tuning.election_tick)
        self._promoter = LearnerPromoter()
        self._wake = asyncio.Event()
        self._stopping = False
        self._inbox: list[Message] = []
        self._calls: list[Callable[[RawNode], None]] = []
        self.configure(tuning)
        self._node = RawNode(
            RaftConfig(
                id=self.id,
                random=random.SystemRandom(),
                election_tick=tuning.election_tick,
                heartbeat_tick=tuning.heartbeat_tick,
                max_bytes_per_apply=_APPLY_BYTES,
                applied=self.applied.index,
            ),
            disk.storage,
        )

    def configure(self, tuning: RaftTuning) -> None:
        """Replaces the snapshot settings; they take effect with the next snapshot. The ticks stay as they are."""
        self.tuning = tuning
        self._compactor.configure(
            interval=tuning.snapshot_interval,
            limit_bytes=tuning.snapshot_bytes,
            keep_entries=tuning.log_entries_for_slow_followers,
            keep_old=tuning.keep_old_snapshots,
        )

    # Inputs. All of them are taken up in the loop's next turn.

    def receive(self, message: Message) -> None:
        """A message from a peer. If too many are waiting it is dropped, as by a network."""
        if len(self._inbox) < _MAX_INBOX:
            self._inbox.append(message)
            self._wake.set()
        elif message.snapshot:
            log.warning("a snapshot from raft member %x was dropped: this manager is overloaded", message.from_)

    async def receive_snapshot(self, message: Message) -> None:
        """A snapshot from the leader. It is decoded in a thread, which may take seconds, while the node goes on answering.

        Raises:
            UnavailableError: another snapshot is being decoded.
        """
        snapshot = message.snapshot
        if (
            snapshot is not None
            and snapshot.metadata.index > self.applied.index
            and message.term >= self._leadership.term
        ):
            await self.applied.decode(snapshot)
        self.receive(message)

    def read(self) -> IndexFuture:
        """Resolves when everything acknowledged before this call is applied here."""
        future = self.reads.read()
        self._wake.set()
        return future

    def propose(self, data: bytes) -> IndexFuture:
        """Resolves to the log index of the proposal when it is applied here."""
        future = self._proposer.pending.propose(data)
        self._wake.set()
        return future

    def change_members(self, change: ConfChange, check: Callable[[], None]) -> IndexFuture:
        """As `Proposer.change_members`."""
        future = self._proposer.change_members(change, check)
        self._wake.set()
        return future

    def call(self, function: Callable[[RawNode], None]) -> None:
        """Calls a function with the core in the loop's next turn. ProposalDropped is ignored."""
        self._calls.append(function)
        self._wake.set()

    def report_unreachable(self, peer: int) -> None:
        self.call(lambda node: node.report_unreachable(peer))

    def suspect_leader(self, peer: int) -> None:
        self.call(lambda node: node.suspect_leader(peer))

    def report_snapshot(self, peer: int, *, ok: bool) -> None:
        self.call(lambda node: node.report_snapshot(peer, ok=ok))

    def report_removed(self) -> None:
        self.applied.removed.set()
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    # State.

    @property
    def leadership(self) -> ObservableValue[Leadership]:
        return self._leadership.published

    def status(self) -> Status:
        return self._node.status()

    def reachable_ids(self) -> set[int]:
        """This member and the members that answer."""
        return {
            raft_id for raft_id in self.applied.members if raft_id == self.id or self.transport.is_reachable(raft_id)
        }

    def _address_of(self, raft_id: int) -> str:
        member = self.applied.members.get(raft_id)
        return self.transport.address_of(member) if member else ""

    # The loop.

    async def run(self) -> None:
        """Runs until ``stop``. Raises StorageError, the core's InvariantError, or what applying an entry raises; all are final."""
        try:
            async with TaskGroup() as group:
                tasks = [
                    group.create_task(self._ticker.run(self._on_tick), name="raft ticks"),
                    group.create_task(self._compactor.run(), name="raft snapshots"),
                    group.create_task(self.transport.run(), name="raft transport"),
                ]
                try:
                    await self._loop()
                finally:
                    for task in tasks:
                        task.cancel()
        finally:
            self._leadership.withdraw()
            self._proposer.close()
            self.reads.close(UnavailableError("this manager is shutting down; ask another one"))
            await asyncio.get_running_loop().run_in_executor(None, self.disk.close)

    async def _loop(self) -> None:
        if self.applied.is_single_voter:
            self._node.campaign()  # a single manager need not wait for others
            self._wake.set()
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            self._feed()
            while self._node.has_ready() and not self._stopping:
                await self._process(self._node.ready())
                self._feed()

    def _on_tick(self, stall: str) -> None:
        self.reads.tick()
        if stall:
            self._suspend_leadership(stall)
        self._wake.set()

    def _feed(self) -> None:
        """Feeds all inputs to the core: messages before ticks, so that messages which arrived during a stall count. A pause is noticed
        before a write is proposed in a term that may be over.
        """
        if pause := self._ticker.take_pause():
            self._suspend_leadership(pause)
        inbox, self._inbox = self._inbox, []
        for message in inbox:
            self._node.step(message)
            if message.snapshot and self._node.pending_snapshot is not message.snapshot:
                self.applied.discard_decoded()
        calls, self._calls = self._calls, []
        for call in calls:
            try:
                call(self._node)
            except ProposalDropped as error:
                log.debug("%s", error)
        for _ in range(self._ticker.take_due()):
            self._node.tick()
            self._promoter.tick(self._node, self.applied.members, is_leader=self.leadership.value.is_leader)
            self._proposer.pending.tick(self._leadership.term if self._leadership.role is Role.LEADER else 0)
            if self._leadership.tick():
                self.transport.announce()
        self._request_reads()
        self._proposer.flush(self._node)

    def _request_reads(self) -> None:
        context = self.reads.next_request()
        if context is not None:
            try:
                self._node.read_index(context)
            except ProposalDropped as error:
                log.debug("reads wait until the next request: %s", error)

    async def _process(self, ready: Ready) -> None:
        """Carries out one `Ready` in the order of the core's contract. Normal entries are applied during the write."""
        self.transport.send(ready.messages)
        if ready.soft_state:
            self.reads.retry()
        self._leadership.update(ready.soft_state, ready.hard_state)
        remaining: Sequence[Entry] = ready.committed
        if ready.must_sync:
            self._ticker.write_began()
            durable = self.disk.begin_save(ready.hard_state, ready.entries, ready.snapshot)
            if not ready.snapshot and all(entry.kind is EntryKind.NORMAL for entry in ready.committed):
                await self.applied.apply(ready.committed, self._node)
                remaining = ()
            await durable
            self._ticker.write_ended()
            self.disk.finish_save(ready.hard_state, ready.entries, ready.snapshot)
        else:
            self.disk.record_hard_state(ready.hard_state)
        self.transport.send(ready.messages_after_sync)
        if ready.snapshot:
            await self.applied.restore(ready.snapshot)
        await self.applied.apply(remaining, self._node)
        for read in ready.read_states:
            self.reads.confirmed(read.context, read.index)
        self.reads.applied_up_to(self.applied.index)
        self._node.advance(ready)
        self._publish_leadership()
        self._compactor.start_if_due(self.applied.metadata, self.applied.capture)

    # Leadership.

    def _publish_leadership(self) -> None:
        self._leadership.publish(self.applied.term)

    def _suspend_leadership(self, reason: str) -> None:
        """Stops acting as leader after a stall, although the core knows no other leader. A single manager has no successor."""
        leadership = self._leadership
        if leadership.role is not Role.LEADER or leadership.is_suspended or self.applied.is_single_voter:
            return
        log.warning("this manager stops leading in term %d: %s", leadership.term, reason)
        leadership.suspend()
        self._proposer.pending.reject_queued("")
        if self._ticker.is_writing:
            self._proposer.pending.fail_unknown()
            self.call(RawNode.step_down)  # another manager's disk may be faster
            return
        term = leadership.term
        try:
            self.read().add_done_callback(lambda future: self._resume_leadership(future, term))
        except UnavailableError:  # too many reads are waiting
            self.call(RawNode.step_down)

    def _resume_leadership(self, confirmation: IndexFuture, term: int) -> None:
        """Leads again if a majority confirmed that it still follows in the same term."""
        confirmed = not confirmation.cancelled() and confirmation.exception() is None
        if confirmed and self._leadership.is_suspended and self._leadership.term == term:
            log.info("a majority of managers still follows this one in term %d", term)
            self._leadership.is_suspended = False
            self._publish_leadership()
