"""A manager in the simulated world: a disk that outlives it, and the real core, log recovery and store, which do not.

It does what the driver does round one `RawNode`, a step an event: writes and flushes, sends what may go, applies, takes snapshots and
compacts. Every event ends with the laws (`raft_laws`). Made and fed by `raft_world`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from covey.errors import CoveyError
from manager.raft.core import (
    ConfChange,
    ConfChangeRefused,
    Config,
    ConfState,
    Entry,
    EntryKind,
    ProposalDropped,
    RawNode,
    Ready,
    Role,
    Snapshot,
    SnapshotMeta,
    confchange,
)
from manager.raft.group import after_change, within
from manager.store import Member, Store, Tx, log
from tests.simulation.raft_clients import ACTS
from tests.simulation.raft_disk import SimDisk, Step

if TYPE_CHECKING:
    from manager.store import Consensus, StateMachine
    from tests.simulation.raft_world import World


def new_store() -> tuple[Store, StateMachine]:
    """The real store; what stands under it is the host."""
    made: list[StateMachine] = []

    def connect(machine: StateMachine) -> Consensus:
        made.append(machine)
        return None  # proposals go by `Host.propose`

    return Store(connect), made[0]


class Host:
    """`epoch` counts its lives: an event of an earlier one is void."""

    def __init__(self, host_id: int, world: World) -> None:
        self.id = host_id
        self.world = world
        self.laws: Any = None
        self.disk = SimDisk(world.weather.segment_frames)
        self.up = False
        self.epoch = 0
        self.stalled_until = 0
        self.node: Any = None
        self._forget()

    def _forget(self) -> None:
        self.writing: Ready | None = None
        self.applied_early = False
        self.snapshotting = False
        self.applied = 0
        self.applied_term = 0
        self.conf = ConfState()
        self.members: dict[int, Member] = {}
        self.pending: dict[int, tuple[int, int]] = {}
        self.reads: dict[bytes, int] = {}
        self.confirmed: list[tuple[int, int]] = []
        self.store, self.machine = new_store()

    # Life and death.

    def start(self) -> None:
        """Recovers from the disk as `manager.raft.disk` does."""
        self.world.note("start", self.id)
        self._forget()
        self.up = True
        snapshot = self.disk.open()
        if snapshot:
            self._restore(snapshot)
        self.node = self._new_node()
        self.laws.observe(self)

    def _new_node(self) -> RawNode:
        weather = self.world.weather
        config = Config(
            id=self.id,
            random=random.Random(self.world.rng.getrandbits(32)),
            election_tick=weather.election_tick,
            heartbeat_tick=1,
            max_bytes_per_message=weather.message_bytes,
            max_inflight_messages=weather.window,
            max_uncommitted_bytes=4096,
            pre_vote=weather.pre_vote,
            check_quorum=weather.check_quorum,
            applied=self.applied,
        )
        return RawNode(config, self.disk.storage)

    def crash(self) -> None:
        """Power is gone: memory is lost, and so is what was written and not flushed, or not."""
        self.world.note("crash", self.id)
        self.disk.cut_power(keeps_written=self.world.rng.random() < 0.5)
        self.up, self.node = False, None
        self.epoch += 1
        self._forget()
        self.laws.forget(self)

    @property
    def amid_snapshot(self) -> bool:
        """Whether a crash now would cut the write of a snapshot, or of what goes with it."""
        return self.snapshotting or (self.writing is not None and self.writing.snapshot is not None)

    # One turn.

    def act(self, action: Callable[[RawNode], None]) -> None:
        """Feeds the core, checks the laws, and goes on."""
        if not self.up:
            return
        try:
            action(self.node)
        except (ProposalDropped, ConfChangeRefused) as error:
            self.world.note("refused", self.id, error)
        self.laws.observe(self)
        self.pump()

    def pump(self) -> None:
        """One `Ready` at a time; its write takes a while, step by step."""
        if self.writing or not self.node.has_ready():
            return
        ready = self.node.ready()
        self.laws.observe(self)
        self.writing = ready
        for message in ready.messages:
            self.world.send(message)
        self.applied_early = ready.snapshot is None and self.world.rng.random() < 0.3
        if self.applied_early:
            self._apply(ready.committed)
        if not ready.must_sync:
            self._written(ready)
            return
        snapshot = ready.snapshot
        steps = self.disk.save_steps(ready.hard_state, ready.entries, snapshot)
        self.world.after_sync_delay(self, self._save_step, ready, steps, 0)

    def _save_step(self, ready: Ready, steps: list[Step], position: int) -> None:
        steps[position]()
        if position + 1 < len(steps):
            self.world.after_sync_delay(self, self._save_step, ready, steps, position + 1)
        else:
            self._written(ready)

    def _written(self, ready: Ready) -> None:
        """All is durable: promises may leave, the rest is applied."""
        self.disk.finish_save(ready.hard_state, ready.entries, ready.snapshot)
        self.writing = None
        for message in ready.messages_after_sync:
            self.world.send(message)
        if ready.snapshot:
            self._restore(ready.snapshot)
        if not self.applied_early:
            self._apply(ready.committed)
        for read in ready.read_states:
            if read.context in self.reads:  # else the network doubled the answer
                self.confirmed.append((read.index, self.reads.pop(read.context)))
        self._serve_reads()
        self.node.advance(ready)
        self.laws.observe(self)
        if self.node._state.log.snapshot is None:
            self.laws.member_view(self, self.applied, self.node._state.tracker.conf, self._sorted_members())
        self._lose_leadership()
        self.pump()

    # The state machine.

    def _restore(self, snapshot: Snapshot) -> None:
        metadata = snapshot.metadata
        members = self.machine.decode(metadata.index, snapshot.data)()
        self.applied, self.applied_term, self.conf = metadata.index, metadata.term, metadata.conf_state
        self.members = within(members, self.conf)
        self.laws.restored(self, metadata.index)
        self.laws.member_view(self, metadata.index, self.conf, self._sorted_members())

    def _sorted_members(self) -> list[Member]:
        return [self.members[raft_id] for raft_id in sorted(self.members)]

    def _apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.laws.applied(self, entry)
            if entry.kind is EntryKind.CONF_CHANGE:
                self._apply_change(ConfChange.decode(entry.data))
            elif entry.data:
                before = self.store.view()
                self.machine.apply(entry.index, entry.data)
                accepted = self.store.view() is not before
            self.applied, self.applied_term = entry.index, entry.term
            if entry.kind is EntryKind.NORMAL and entry.data:
                self.laws.store_changed(self, entry.index, accepted=accepted)
                self._answer(entry, accepted=accepted)
            self.laws.member_view(self, entry.index, self.conf, self._sorted_members())

    def _apply_change(self, change: ConfChange) -> None:
        overtaken = self.node._state.log.snapshot is not None
        conf = self.node.apply_conf_change(change)
        self.laws.observe(self)
        if overtaken:  # the core holds the membership of a later snapshot already: this change is the machine's alone
            with suppress(ConfChangeRefused):
                self.conf = confchange.plan(self.conf, change)
        else:
            self.conf = conf
        self.members = after_change(self.members, change, self.conf)

    # Clients.

    @property
    def leads(self) -> bool:
        """Whether its clients may write: it leads, as far as it knows, and has applied all of earlier terms."""
        state = self.node._state if self.up else None
        return state is not None and state.role is Role.LEADER and self.applied_term == state.term

    def propose(self, request: int, rng: random.Random) -> None:
        """A client's transaction on this manager's view, as the store makes it."""
        tx = Tx(self.store.view())
        try:
            rng.choice(ACTS)(tx, rng)
        except CoveyError:
            return
        if tx.changes:
            data = log.encode(request, tx.changes, self.world.now)
            self.act(lambda node: self._enter(node, request, data))

    def _enter(self, node: RawNode, request: int, data: bytes) -> None:
        node.propose(data)
        state = self.node._state
        self.pending[state.log.last_index()] = (state.term, request)

    def _answer(self, entry: Entry, *, accepted: bool) -> None:
        waiting = self.pending.pop(entry.index, None)
        if waiting and waiting[0] == entry.term and accepted:
            self.laws.acknowledge(self, entry.index, waiting[1])

    def _lose_leadership(self) -> None:
        """Whoever waits for a proposal of a term that is over is told so; the outcome is unknown."""
        if self.pending and self.node._state.role is not Role.LEADER:
            self.pending.clear()

    def read(self, context: bytes) -> None:
        self.reads[context] = self.laws.max_committed
        self.act(lambda node: node.read_index(context))

    def _serve_reads(self) -> None:
        if self.confirmed:
            for index, asked_at in self.confirmed:
                if index <= self.applied:
                    self.laws.read(self, index, asked_at)
            self.confirmed = [read for read in self.confirmed if read[0] > self.applied]

    # Snapshots of its own.

    def take_snapshot(self, rng: random.Random) -> None:
        """Beside the writes of the log, in steps, as the driver's second thread does."""
        if not self.up or self.snapshotting or self.applied <= self.disk.snapshots_reach():
            return
        self.snapshotting = True
        self.world.note("snapshot", self.id, self.applied)
        metadata = SnapshotMeta(self.applied, self.applied_term, self.conf)
        encode = self.machine.snapshot(tuple(self._sorted_members()))
        steps = self.disk.compact_steps(
            lambda: Snapshot(metadata, encode()), keep_entries=rng.choice((0, 0, 2, 20)), keep_old=rng.choice((0, 0, 1))
        )
        self.world.after_sync_delay(self, self._snapshot_step, steps, 0)

    def _snapshot_step(self, steps: list[Step], position: int) -> None:
        steps[position]()
        if position + 1 < len(steps):
            self.world.after_sync_delay(self, self._snapshot_step, steps, position + 1)
        else:
            self.snapshotting = False
