"""Simulated manager: the real core, log recovery and store on a simulated disk that survives crashes.

Does what the driver does around one `RawNode`, one step per event: writes and flushes, sends what may leave, applies,
takes snapshots and compacts. The invariants are checked after each event. Created and driven by `raft_simulation`.
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
    ConfState,
    Entry,
    EntryKind,
    ProposalDropped,
    RaftConfig,
    RawNode,
    Ready,
    Role,
    Snapshot,
    SnapshotMeta,
    confchange,
)
from manager.raft.membership import members_after, members_in
from manager.raft.pending_proposals import PendingProposals
from manager.raft.pending_reads import PendingReads
from manager.store import Member, NotLeaderError, Store, Tx, log
from tests.simulation.simulator.client_transactions import TRANSACTIONS
from tests.simulation.simulator.simulated_disk import SimulatedDisk, Step

if TYPE_CHECKING:
    from manager.store import Consensus, StateMachine
    from tests.simulation.simulator.raft_simulation import RaftSimulation


_MAX_READS = 50


def new_store() -> tuple[Store, StateMachine]:
    """The real store; the simulated manager takes the place of its consensus."""
    made: list[StateMachine] = []

    def connect(machine: StateMachine) -> Consensus:
        made.append(machine)
        return None  # type: ignore[return-value]  # proposals go through `SimulatedManager.propose`

    return Store(connect), made[0]


class ProposalFuture:
    """A client that waits for its write; takes the place of a future."""

    __slots__ = ("_done", "_host", "_request")

    def __init__(self, host: SimulatedManager, request: int) -> None:
        self._host = host
        self._request = request
        self._done = False

    def done(self) -> bool:
        return self._done

    def set_result(self, index: int) -> None:
        self._done = True
        self._host.invariants.acknowledge(self._host, index, self._request)

    def set_exception(self, error: object) -> None:
        self._done = True
        if error is NotLeaderError or isinstance(error, NotLeaderError):
            self._host.invariants.rejected(self._request)


class ReadFuture:
    """A client that waits for a linearizable read."""

    __slots__ = ("_requested_at", "_done", "_host")

    def __init__(self, host: SimulatedManager, requested_at: int) -> None:
        self._host = host
        self._requested_at = requested_at
        self._done = False

    def done(self) -> bool:
        return self._done

    def set_result(self, index: int) -> None:
        self._done = True
        self._host.invariants.read(self._host, index, self._requested_at)


class SimulatedManager:
    """`epoch` counts restarts; an event of an earlier epoch is dropped."""

    def __init__(self, host_id: int, simulation: RaftSimulation) -> None:
        self.id = host_id
        self.simulation = simulation
        self.invariants: Any = None
        self.disk = SimulatedDisk(simulation.rates.segment_frames)
        self.up = False
        self.epoch = 0
        self.stalled_until = 0
        self.held_until = 0
        self.held: list[tuple[int, Callable[..., None], tuple[Any, ...]]] = []
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
        self.proposals = PendingProposals()
        self.reads = PendingReads()
        self.store, self.machine = new_store()

    # Life and death.

    def start(self) -> None:
        """Recovers from the disk as `manager.raft.disk` does."""
        self.simulation.note("start", self.id)
        self._forget()
        self.up = True
        snapshot = self.disk.open()
        if snapshot:
            self._restore(snapshot)
        self.node = self._new_node()
        self.invariants.observe(self)

    def _new_node(self) -> RawNode:
        rates = self.simulation.rates
        config = RaftConfig(
            id=self.id,
            random=random.Random(self.simulation.rng.getrandbits(32)),
            election_tick=rates.election_tick,
            heartbeat_tick=1,
            max_bytes_per_message=rates.message_bytes,
            max_bytes_per_apply=rates.apply_bytes,
            max_inflight_messages=rates.window,
            max_uncommitted_bytes=4096,
            pre_vote=rates.pre_vote,
            check_quorum=rates.check_quorum,
            applied=self.applied,
        )
        return RawNode(config, self.disk.storage)

    def crash(self) -> None:
        """Power is lost: memory is gone, and what was written but not flushed is gone or kept."""
        self.simulation.note("crash", self.id)
        self.disk.cut_power(keeps_written=self.simulation.rng.random() < 0.5)
        self.up, self.node = False, None
        self.epoch += 1
        self._forget()
        self.invariants.forget(self)

    @property
    def is_saving_snapshot(self) -> bool:
        """Whether a crash now would interrupt the write of a snapshot."""
        return self.snapshotting or (self.writing is not None and self.writing.snapshot is not None)

    # One turn.

    def act(self, action: Callable[[RawNode], None]) -> None:
        """Feeds the core, checks the invariants, and processes what is ready."""
        if not self.up:
            return
        try:
            action(self.node)
        except (ProposalDropped, ConfChangeRefused) as error:
            self.simulation.note("refused", self.id, error)
        self.invariants.observe(self)
        self.pump()

    def pump(self) -> None:
        """Processes one `Ready` at a time."""
        while not self.writing and self.node.has_ready():
            self._process()

    def _process(self) -> None:
        """Starts a `Ready`: its write takes several steps, and applying may take time."""
        ready = self.node.ready()
        self.invariants.observe(self)
        self.writing = ready
        if ready.soft_state:
            self.reads.retry()
        for message in ready.messages:
            self.simulation.send(message)
        self.applied_early = ready.snapshot is None and self.simulation.rng.random() < 0.3
        if self.applied_early:
            self._apply(ready.committed)
        if not ready.must_sync:
            if ready.committed and self.simulation.rates.apply:
                self.simulation.after_apply_delay(self, self._written, ready)
            else:
                self._finish(ready)
            return
        snapshot = ready.snapshot
        steps = self.disk.save_steps(ready.hard_state, ready.entries, snapshot)
        self.simulation.after_sync_delay(self, self._save_step, ready, steps, 0)

    def _save_step(self, ready: Ready, steps: list[Step], position: int) -> None:
        steps[position]()
        if position + 1 < len(steps):
            self.simulation.after_sync_delay(self, self._save_step, ready, steps, position + 1)
        else:
            self._written(ready)

    def _written(self, ready: Ready) -> None:
        self._finish(ready)
        self.pump()

    def _finish(self, ready: Ready) -> None:
        """Everything is durable: sends the remaining messages and applies the rest."""
        self.disk.finish_save(ready.hard_state, ready.entries, ready.snapshot)
        self.writing = None
        for message in ready.messages_after_sync:
            self.simulation.send(message)
        if ready.snapshot:
            self._restore(ready.snapshot)
        if not self.applied_early:
            self._apply(ready.committed)
        for read in ready.read_states:
            self.reads.confirmed(read.context, read.index)
        self.reads.applied_up_to(self.applied)
        self.node.advance(ready)
        self.invariants.observe(self)
        if self.node._state.log.snapshot is None:
            self.invariants.check_members(self, self.applied, self.node._state.tracker.conf, self._sorted_members())
        self._request_reads()

    # The state machine.

    def _restore(self, snapshot: Snapshot) -> None:
        metadata = snapshot.metadata
        members = self.machine.decode(metadata.index, snapshot.data)()
        self.applied, self.applied_term, self.conf = metadata.index, metadata.term, metadata.conf_state
        self.members = members_in(members, self.conf)
        self.proposals.snapshot_restored(self.applied, self.applied_term)
        self.invariants.check_restored(self, metadata.index)
        self.invariants.check_members(self, metadata.index, self.conf, self._sorted_members())

    def _sorted_members(self) -> list[Member]:
        return [self.members[raft_id] for raft_id in sorted(self.members)]

    def _apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.invariants.applied(self, entry)
            if entry.kind is EntryKind.CONF_CHANGE:
                self._apply_change(ConfChange.decode(entry.data))
            elif entry.data:
                before = self.store.view()
                self.machine.apply(entry.index, entry.data)
                accepted = self.store.view() is not before
            self.applied, self.applied_term = entry.index, entry.term
            if entry.kind is EntryKind.NORMAL and entry.data:
                self.invariants.check_transaction(self, entry.index, accepted=accepted)
            self.proposals.entry_applied(entry.index, entry.term)
            self.invariants.check_members(self, entry.index, self.conf, self._sorted_members())

    def _apply_change(self, change: ConfChange) -> None:
        overtaken = self.node._state.log.snapshot is not None
        conf = self.node.apply_conf_change(change)
        self.invariants.observe(self)
        if (
            overtaken
        ):  # the core already has the configuration of a later snapshot; only the state machine applies this change
            with suppress(ConfChangeRefused):
                self.conf = confchange.plan(self.conf, change)
        else:
            self.conf = conf
        self.members = members_after(self.members, change, self.conf)

    # Clients.

    @property
    def leads(self) -> bool:
        """Whether its clients may write: it believes that it leads, and has applied everything of earlier terms."""
        state = self.node._state if self.up else None
        return state is not None and state.role is Role.LEADER and self.applied_term == state.term

    def propose(self, request: int, rng: random.Random) -> None:
        """A client's transaction on this manager's view, as the store creates it."""
        tx = Tx(self.store.view())
        try:
            rng.choice(TRANSACTIONS)(tx, rng)
        except CoveyError:
            return
        if tx.changes:
            data = log.encode(request, tx.changes, self.simulation.now)
            self.act(lambda node: self._enter(node, request, data))

    def _enter(self, node: RawNode, request: int, data: bytes) -> None:
        node.propose(data)
        state = self.node._state
        self.proposals.track(state.log.last_index(), state.term, ProposalFuture(self, request))  # type: ignore[arg-type]

    @property
    def clients(self) -> int:
        """The number of clients that wait for a write."""
        return len(self.proposals._entries)

    def read(self) -> None:
        """A linearizable read through this manager, leader or not."""
        if self.up and len(self.reads._waiting) < _MAX_READS:
            self.reads._waiting.append(ReadFuture(self, self.invariants.max_committed))  # type: ignore[arg-type]
            self.act(lambda _: self._request_reads())

    def _request_reads(self) -> None:
        context = self.reads.next_request()
        if context is not None:
            with suppress(ProposalDropped):  # until the request is repeated
                self.node.read_index(context)

    def tick(self) -> None:
        self.reads.tick()
        self.act(self._tick)

    def _tick(self, node: RawNode) -> None:
        node.tick()
        state = node._state
        self.proposals.tick(state.term if state.role is Role.LEADER else 0)
        self._request_reads()

    # Snapshots of its own.

    def take_snapshot(self, rng: random.Random) -> None:
        """Takes a snapshot of what the core counts as applied, in steps beside the writes of the log, as the driver does."""
        if not self.up or self.snapshotting or self.applied <= self.disk.snapshots_reach():
            return
        if self.applied > self.node._state.log.applied:
            return
        self.snapshotting = True
        self.simulation.note("snapshot", self.id, self.applied)
        metadata = SnapshotMeta(self.applied, self.applied_term, self.conf)
        encode = self.machine.snapshot(tuple(self._sorted_members()))
        steps = self.disk.compact_steps(
            lambda: Snapshot(metadata, encode()), keep_entries=rng.choice((0, 0, 2, 20)), keep_old=rng.choice((0, 0, 1))
        )
        self.simulation.after_sync_delay(self, self._snapshot_step, steps, 0)

    def _snapshot_step(self, steps: list[Step], position: int) -> None:
        steps[position]()
        if position + 1 < len(steps):
            self.simulation.after_sync_delay(self, self._snapshot_step, steps, position + 1)
        else:
            self.snapshotting = False
