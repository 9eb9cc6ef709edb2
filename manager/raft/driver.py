"""The event loop around one `RawNode`: feeds it ticks, messages and proposals, and carries out each `Ready`.

Invariant: whatever depends on a write leaves after that write is durable, in the order that the core states. One
coroutine calls the core, so it is never re-entered. A failed write ends the node: `run` raises and the manager must
exit. Called by `node.RaftNode`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence

import msgspec

from covey.errors import ConflictError, UnavailableError
from manager.raft.compactor import Compactor
from manager.raft.core import (
    NO_PEER,
    ChangeKind,
    ConfChange,
    ConfChangeRefused,
    Config,
    Entry,
    EntryKind,
    Message,
    ProposalDropped,
    RawNode,
    Ready,
    Role,
    SnapshotMeta,
    Status,
)
from manager.raft.core import Snapshot as RaftSnapshot
from manager.raft.disk import Disk
from manager.raft.membership import add_change, learner_to_promote, members_after, members_in
from manager.raft.peer import Credentials
from manager.raft.pending_proposals import IndexFuture, PendingProposals, fail
from manager.raft.pending_reads import PendingReads
from manager.raft.transport import Transport
from manager.store.consensus import Leadership, Member, NotLeaderError, StateMachine
from manager.store.observable import ObservableValue

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
_MAX_TICKS = 2
_MAX_INBOX = 8192
_APPLY_STRETCH = 128
_APPLY_BYTES = 1 << 20
"""What is applied between two looks at the messages that came in, so that a node that catches up answers heartbeats."""
_PROMOTE_TICKS = 3
_PATIENCE = 1.5
"""Of the shortest election timeout. Followers wait for one to two of it, each for another time, so by then one of them likely elects."""
MAX_REMOVED = 1024
"""Of so many members that were removed the group remembers the ids, so that one that comes back is told."""


class RaftSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Times in ticks of 100 ms; an election timeout lies between ``election_tick`` and twice that. A snapshot is due after so many
    entries, or so many bytes of them (or as many as the snapshot before had, so that snapshots never outweigh the log).
    """

    election_tick: int = 10
    heartbeat_tick: int = 1
    snapshot_interval: int = 10_000
    snapshot_bytes: int = 64 << 20
    log_entries_for_slow_followers: int = 500
    keep_old_snapshots: int = 0


class DecodedSnapshot(msgspec.Struct, frozen=True):
    """A snapshot of the leader, read and ready to be installed once the core takes it over."""

    snapshot: RaftSnapshot
    install: Callable[[], tuple[Member, ...]]


class RaftDriver:
    """Everything that happens to one node happens here, in turn."""

    def __init__(
        self, disk: Disk, machine: StateMachine, credentials: Credentials, tuning: RaftSettings, addr: str = ""
    ) -> None:
        self.disk = disk
        self.id = disk.identity.raft_id
        self.proposals = PendingProposals()
        self.reads = PendingReads()
        self.leadership = ObservableValue(Leadership())
        self.members: dict[int, Member] = {}
        self.removed = asyncio.Event()
        self.removed_ids: dict[int, None] = {}
        self._machine = machine
        self._wake = asyncio.Event()
        self._stopping = False
        self._ticks = 0
        self._ticks_since_promotion = 0
        self._inbox: list[Message] = []
        self._changes: list[tuple[ConfChange, Callable[[], None], IndexFuture]] = []
        self._calls: list[Callable[[RawNode], None]] = []
        self._role = Role.FOLLOWER
        self._leader = NO_PEER
        self._saving_since = 0.0
        self._leadership_suspended = False
        self._term = disk.storage.initial_state()[0].term
        self._conf = disk.storage.initial_state()[1]
        self._applied, self._applied_term = 0, 0
        self.compactor = Compactor(disk, self.status)
        self._decoding = False
        self._decoded: DecodedSnapshot | None = None
        self.configure(tuning)
        self.transport = Transport(self.id, disk.identity.cluster_id, credentials, self, disk.open_snapshot, addr=addr)
        self._restore_from_disk()
        self._node = RawNode(
            Config(
                id=self.id,
                random=random.SystemRandom(),
                election_tick=tuning.election_tick,
                heartbeat_tick=tuning.heartbeat_tick,
                max_bytes_per_apply=_APPLY_BYTES,
                applied=self._applied,
            ),
            disk.storage,
        )

    def configure(self, tuning: RaftSettings) -> None:
        """Takes over other settings; they count from the next snapshot on."""
        self.tuning = tuning
        self.compactor.interval, self.compactor.limit_bytes = tuning.snapshot_interval, tuning.snapshot_bytes
        self.compactor.keep_entries, self.compactor.keep_old = (
            tuning.log_entries_for_slow_followers,
            tuning.keep_old_snapshots,
        )

    # What others tell the node; all of it is taken up in the loop's next turn.

    def receive(self, message: Message) -> None:
        """A message of a peer; over the bound it is lost, as in a network."""
        if len(self._inbox) < _MAX_INBOX:
            self._inbox.append(message)
            self._wake.set()
        elif message.snapshot:
            log.warning("a snapshot from raft member %x was dropped: this manager is overloaded", message.from_)

    async def receive_snapshot(self, message: Message) -> None:
        """A snapshot of the leader. Reading it may take seconds: that is done here, in a thread, while the node goes on answering.

        Raises:
            UnavailableError: another one is being read.
        """
        snapshot = message.snapshot
        if snapshot is not None and snapshot.metadata.index > self._applied and message.term >= self._term:
            if self._decoding:
                raise UnavailableError("this manager is taking in another snapshot; try again later")
            self._decoding = True
            try:
                install = await asyncio.to_thread(self._machine.decode, snapshot.metadata.index, snapshot.data)
            finally:
                self._decoding = False
            self._decoded = DecodedSnapshot(snapshot, install)
        self.receive(message)

    def read(self) -> IndexFuture:
        """Answered when everything acknowledged before now is applied here."""
        answer = self.reads.read()
        self._wake.set()
        return answer

    def propose(self, data: bytes) -> IndexFuture:
        answer = self.proposals.propose(data)
        self._wake.set()
        return answer

    def change_members(self, change: ConfChange, require: Callable[[], None]) -> IndexFuture:
        """Answered with ConfChangeRefused, NotLeaderError, the index at which it is applied, or the ConflictError that ``require`` raises
        in the very turn in which the change is proposed.
        """
        answer: IndexFuture = asyncio.get_running_loop().create_future()
        self._changes.append((change, require, answer))
        self._wake.set()
        return answer

    def call(self, function: Callable[[RawNode], None]) -> None:
        """Runs something with the core in the loop's next turn; ProposalDropped is ignored."""
        self._calls.append(function)
        self._wake.set()

    def report_unreachable(self, peer: int) -> None:
        self.call(lambda node: node.report_unreachable(peer))

    def suspect_leader(self, peer: int) -> None:
        self.call(lambda node: node.suspect_leader(peer))

    def report_snapshot(self, peer: int, *, ok: bool) -> None:
        self.call(lambda node: node.report_snapshot(peer, ok=ok))

    def report_removed(self) -> None:
        self.removed.set()
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    @property
    def applied(self) -> int:
        return self._applied

    def status(self) -> Status:
        return self._node.status()

    def reachable_ids(self) -> set[int]:
        """This member, and those that are not silent."""
        return {raft_id for raft_id in self.members if raft_id == self.id or self.transport.is_reachable(raft_id)}

    # The loop.

    async def run(self) -> None:
        """Until ``stop``. Raises StorageError, the core's InvariantError, or whatever applying an entry raises: all final."""
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [
                    tasks.create_task(self._tick_loop(), name="raft ticks"),
                    tasks.create_task(self.compactor.run(), name="raft snapshots"),
                    tasks.create_task(self.transport.run(), name="raft transport"),
                ]
                try:
                    await self._loop()
                finally:
                    for helper in helpers:
                        helper.cancel()
        finally:
            self.leadership.set(Leadership(term=self._term))
            self.proposals.close()
            self.reads.close(UnavailableError("this manager is shutting down; ask another one"))
            for *_, answer in self._changes:
                fail(answer, NotLeaderError())
            await asyncio.get_running_loop().run_in_executor(None, self.disk.close)

    async def _loop(self) -> None:
        if self._conf.voters == (self.id,):
            self._node.campaign()  # a lone manager need not wait for others
            self._wake.set()
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            self._step_inputs()
            while self._node.has_ready() and not self._stopping:
                await self._process_ready(self._node.ready())
                self._step_inputs()

    async def _tick_loop(self) -> None:
        """After a stall only few ticks are made up, lest a busy node takes its own stall for the leader's death. A leader that stood
        still for as long as others wait before they elect may be none any more, and does not act as one before it knows better.
        """
        patience = _PATIENCE * self.tuning.election_tick * TICK_SECONDS
        before = _now()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = _now()
            stood_still, before = now - before > patience, now
            self._ticks = min(self._ticks + 1, _MAX_TICKS)
            self.reads.tick()
            if stood_still:
                self._suspend_leadership("it stood still")
            elif self._saving_since and now - self._saving_since > patience:
                self._suspend_leadership("its disk stands still")
            self._wake.set()

    def _suspend_leadership(self, reason: str) -> None:
        """Says at once that this manager does not lead, though the core knows no other leader. A lone manager has nobody to yield to."""
        if self._role is not Role.LEADER or self._leadership_suspended or self._conf.voters == (self.id,):
            return
        log.warning("this manager stops leading in term %d: %s", self._term, reason)
        self._leadership_suspended = True
        self.leadership.set(Leadership(term=self._term))
        self.proposals.reject_queued("")
        if self._saving_since:
            self.proposals.fail_unknown()
            self.call(RawNode.step_down)  # another one's disk may be better
            return
        term = self._term
        try:
            self.read().add_done_callback(lambda answer: self._resume_leadership(answer, term))
        except UnavailableError:  # too many reads wait already
            self.call(RawNode.step_down)

    def _resume_leadership(self, answer: IndexFuture, term: int) -> None:
        """A majority still follows."""
        if not answer.cancelled() and answer.exception() is None and self._leadership_suspended and self._term == term:
            log.info("a majority of managers still follows this one in term %d", term)
            self._leadership_suspended = False
            self._publish()

    def _step_inputs(self) -> None:
        """All that came in since; messages before ticks, so that what a leader said during a stall counts."""
        inbox, self._inbox = self._inbox, []
        for message in inbox:
            self._node.step(message)
            if message.snapshot and self._node.pending_snapshot is not message.snapshot:
                self._decoded = None  # of no use here
        calls, self._calls = self._calls, []
        for call in calls:
            try:
                call(self._node)
            except ProposalDropped as error:
                log.debug("%s", error)
        while self._ticks:
            self._ticks -= 1
            self._node.tick()
            self._promote_learner()
        self._request_reads()
        self._propose()

    def _request_reads(self) -> None:
        question = self.reads.next_request()
        if question is not None:
            try:
                self._node.read_index(question)
            except ProposalDropped as error:
                log.debug("reads wait: %s", error)  # until they are asked again

    def _propose(self) -> None:
        proposals = self.proposals.take_queued()
        taken: list[IndexFuture] = []
        for data, answer in proposals:
            try:
                self._node.propose(data)
                taken.append(answer)
            except ProposalDropped as error:
                fail(answer, self._refusal(error))
        if taken:
            status = self._node.status()
            first = status.last_index - len(taken) + 1
            for number, answer in enumerate(taken):
                self.proposals.track(first + number, status.term, answer)
        self._propose_changes()

    def _propose_changes(self) -> None:
        changes, self._changes = self._changes, []
        for change, require, answer in changes:
            try:
                require()
                self._node.propose_conf_change(change)
            except ProposalDropped as error:
                fail(answer, self._refusal(error))
            except (ConfChangeRefused, ConflictError) as error:
                fail(answer, error)
            else:
                status = self._node.status()
                self.proposals.track(status.last_index, status.term, answer)

    def _refusal(self, error: ProposalDropped) -> UnavailableError:
        if error.leader == self.id:
            return UnavailableError(f"this manager takes no writes now: {error.reason}; try again shortly")
        return NotLeaderError(self._addr(error.leader))

    def _promote_learner(self) -> None:
        """Makes a learner that has caught up a voter; whoever leads does it, so a change of leaders forgets nobody."""
        self._ticks_since_promotion += 1
        if not self.leadership.value.is_leader or self._ticks_since_promotion < _PROMOTE_TICKS:
            return
        self._ticks_since_promotion = 0
        if all(member.voter for member in self.members.values()):
            return
        learner = learner_to_promote(self._node.status())
        if learner is not None and learner in self.members:
            try:
                self._node.propose_conf_change(add_change(ChangeKind.ADD_VOTER, self.members[learner]))
            except (ConfChangeRefused, ProposalDropped) as error:
                log.debug("promotion of raft member %x waits: %s", learner, error)

    async def _process_ready(self, ready: Ready) -> None:
        """One `Ready`, in the order of the core's contract. Plain entries are applied while the write is under way."""
        self.transport.send(ready.messages)
        if ready.soft_state:
            self.reads.retry()
            self._role, self._leader = ready.soft_state.role, ready.soft_state.leader
        if ready.hard_state:
            self._term = ready.hard_state.term
        late: Sequence[Entry] = ready.committed
        if ready.must_sync:
            self._saving_since = _now()
            durable = self.disk.begin_save(ready.hard_state, ready.entries, ready.snapshot)
            if not ready.snapshot and all(entry.kind is EntryKind.NORMAL for entry in ready.committed):
                await self._apply(ready.committed)
                late = ()
            await durable
            self._saving_since = 0.0
            self.disk.finish_save(ready.hard_state, ready.entries, ready.snapshot)
        else:
            self.disk.record_hard_state(ready.hard_state)
        self.transport.send(ready.messages_after_sync)
        if ready.snapshot:
            await self._restore_from_leader(ready.snapshot)
        await self._apply(late)
        for read in ready.read_states:
            self.reads.confirmed(read.context, read.index)
        self.reads.applied_up_to(self._applied)
        self._node.advance(ready)
        self._publish()
        self.compactor.start_if_due(
            SnapshotMeta(self._applied, self._applied_term, self._conf),
            lambda: self._machine.snapshot(self._snapshot_members()),
        )

    async def _apply(self, entries: Sequence[Entry]) -> None:
        for number, entry in enumerate(entries, start=1):
            if entry.kind is EntryKind.CONF_CHANGE:
                self._apply_change(ConfChange.decode(entry.data))
            elif entry.data:
                self._machine.apply(entry.index, entry.data)
            self._applied, self._applied_term = entry.index, entry.term
            self.compactor.entry_applied(len(entry.data))
            self.proposals.entry_applied(entry.index, entry.term)
            if number % _APPLY_STRETCH == 0:
                await asyncio.sleep(0)

    def _apply_change(self, change: ConfChange) -> None:
        self._conf = self._node.apply_conf_change(change)
        was_member = self.id in self.members
        before = set(self.members)
        self._set_members(members_after(self.members, change, self._conf))
        self._remember_removed(sorted(before - set(self.members)))
        if was_member and self.id not in self.members:
            self.removed.set()

    def _remember_removed(self, raft_ids: Sequence[int]) -> None:
        """In the order of their removal, the latest of them: a member that comes back later is refused, though not told why."""
        for raft_id in raft_ids:
            self.removed_ids[raft_id] = None
        for raft_id in list(self.removed_ids)[:-MAX_REMOVED]:
            del self.removed_ids[raft_id]

    def _snapshot_members(self) -> tuple[Member, ...]:
        """The members for a snapshot; those that were removed go along, so that no later one forgets them."""
        gone = [Member(raft_id=raft_id, node_id="", addr="") for raft_id in self.removed_ids]
        return (*self.members.values(), *gone)

    def _set_members(self, members: dict[int, Member]) -> None:
        self.members = members
        self.transport.set_members(members.values())

    def _restore_from_disk(self) -> None:
        """What the disk holds, at start. A newcomer without state answers to the members it was told."""
        snapshot = self.disk.snapshot
        if snapshot is None:
            self.transport.set_members(self.disk.identity.members)
            return
        self._install(snapshot, self._machine.decode(snapshot.metadata.index, snapshot.data))
        self.disk.forget_snapshot()

    async def _restore_from_leader(self, snapshot: RaftSnapshot) -> None:
        log.info("the leader's snapshot at entry %d takes the place of the log", snapshot.metadata.index)
        decoded, self._decoded = self._decoded, None
        if decoded is not None and decoded.snapshot is snapshot:
            self._install(snapshot, decoded.install)
        else:
            index = snapshot.metadata.index
            self._install(snapshot, await asyncio.to_thread(self._machine.decode, index, snapshot.data))

    def _install(self, snapshot: RaftSnapshot, install: Callable[[], tuple[Member, ...]]) -> None:
        metadata = snapshot.metadata
        members = install()
        self._conf = metadata.conf_state
        self._applied, self._applied_term = metadata.index, metadata.term
        self.compactor.snapshot_taken(metadata.index, len(snapshot.data))
        counted = members_in(members, self._conf)
        self._remember_removed([member.raft_id for member in members if member.raft_id not in counted])
        self._set_members(counted)

    def _publish(self) -> None:
        """Tells of leadership. A leader leads once all of earlier terms is applied: when an entry of its own term is."""
        leading = self._role is Role.LEADER
        if not leading:
            self.proposals.fail_unknown()
            self._leadership_suspended = False
        self.proposals.fail_unknown(before_term=self._term)
        leader = NO_PEER if self._leadership_suspended else self._leader
        self.leadership.set(
            Leadership(
                is_leader=leading and self._applied_term == self._term and not self._leadership_suspended,
                leader_id=leader,
                leader_addr=self._addr(leader),
                term=self._term,
            )
        )

    def _addr(self, raft_id: int) -> str:
        member = self.members.get(raft_id)
        return self.transport.address_of(member) if member else ""


def _now() -> float:
    """Seconds that also pass while the host sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
