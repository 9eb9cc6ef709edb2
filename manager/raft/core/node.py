"""`RawNode`, the public interface of the Raft core: calls in, a `Ready` out.

The driver's loop must follow this contract:

1. Feed ticks, messages and proposals. Those fed before the next `ready()` share one `Ready`.
2. While `node.has_ready()`, call `ready = node.ready()`. Only one `Ready` is outstanding until `advance`; messages and
   ticks may be fed in between.
3. Send `ready.messages` at once, before or during the write.
4. Make durable `snapshot`, then `entries` and the latest `hard_state` as one unit that survives a crash completely or not
   at all, because the commit index covers these entries. Skip the write when `must_sync` is false. Then put the
   same into the `Storage`. Entries replace those of the same and higher indexes.
5. Only then send `ready.messages_after_sync`.
6. Restore `snapshot` into the state machine, then apply `committed` in order. Committed entries are durable here already,
   so applying may begin before the write. For a CONF_CHANGE entry call `apply_conf_change` and keep its result for
   snapshots.
7. Call `advance(ready)`.

Invariant: a leader's own entries and a candidate's own vote count only from `advance` on.
"""

from __future__ import annotations

import msgspec

from manager.raft.core import election, membership, raft, read_index, replication
from manager.raft.core.config import RaftConfig
from manager.raft.core.errors import InvariantError, ProposalDropped
from manager.raft.core.progress import ProgressState
from manager.raft.core.state import RaftState
from manager.raft.core.storage import Storage
from manager.raft.core.types import (
    NO_PEER,
    ConfChange,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    ReadState,
    Role,
    Snapshot,
    SoftState,
)


class Ready(msgspec.Struct, frozen=True):
    """Work for the driver, in the order that the module describes. None means "unchanged"."""

    soft_state: SoftState | None
    hard_state: HardState | None
    entries: list[Entry]
    snapshot: Snapshot | None
    committed: list[Entry]
    messages: list[Message]
    messages_after_sync: list[Message]
    read_states: list[ReadState]
    must_sync: bool


class PeerStatus(msgspec.Struct, frozen=True):
    """A peer as its leader sees it."""

    match: int
    next: int
    state: ProgressState
    is_learner: bool
    recent_active: bool
    inflight: int
    inflight_bytes: int = 0


class Status(msgspec.Struct, frozen=True):
    """The state of a node at this moment. `peers` is empty unless the node leads."""

    id: int
    role: Role
    term: int
    vote: int
    leader: int
    commit: int
    applied: int
    first_index: int
    last_index: int
    transferee: int
    conf_state: ConfState
    peers: dict[int, PeerStatus]


class RawNode:
    """One node of a Raft group. Not thread-safe; never blocks."""

    __slots__ = ("_hard_state", "_outstanding", "_soft_state", "_state", "_to_self")

    def __init__(self, config: RaftConfig, storage: Storage) -> None:
        self._state = RaftState(config, storage)
        self._soft_state = self._state.soft_state
        self._hard_state = storage.initial_state()[0]
        self._outstanding: Ready | None = None
        self._to_self: list[Message] = []

    def tick(self) -> None:
        """One tick has passed."""
        raft.tick(self._state)

    def step(self, message: Message) -> None:
        """Processes a message from a peer. Raises InvariantError if the node must stop."""
        if message.to == self._state.id and message.from_ != self._state.id:
            raft.step(self._state, message)

    def campaign(self) -> None:
        """Starts an election without waiting for the timeout."""
        election.campaign(self._state)

    def propose(self, data: bytes) -> None:
        """Appends data to the leader's log. Raises ProposalDropped."""
        state = self._state
        self._check_leading()
        if not data:
            raise ValueError("an empty proposal cannot be distinguished from a leader's first entry")
        if state.uncommitted_bytes and state.uncommitted_bytes + len(data) > state.config.max_uncommitted_bytes:
            raise ProposalDropped("too many bytes are waiting to be committed", state.leader)
        state.append_own([(EntryKind.NORMAL, data)])

    def propose_conf_change(self, change: ConfChange) -> None:
        """Appends a configuration change to the leader's log. Raises ProposalDropped, ConfChangeRefused."""
        self._check_leading()
        membership.propose(self._state, change)

    def _check_leading(self) -> None:
        state = self._state
        if state.role is not Role.LEADER:
            reason = "this node does not lead" if state.leader else "there is no leader now"
            raise ProposalDropped(reason, state.leader)
        if state.transferee != NO_PEER:
            raise ProposalDropped("leadership is being transferred", state.leader)

    def step_down(self) -> None:
        """Gives up leadership for a reason that the core cannot see, such as a stalled disk. No effect on other roles."""
        if self._state.role is Role.LEADER:
            self._state.become_follower(self._state.term, NO_PEER)

    def apply_conf_change(self, change: ConfChange) -> ConfState:
        """Puts a committed change into effect. Must be called for every CONF_CHANGE entry, in order, when it is applied."""
        return membership.apply(self._state, change)

    def transfer_leader(self, to: int) -> None:
        """Asks for `to` to lead; given up after an election timeout. Raises ProposalDropped."""
        raft.transfer_leader(self._state, to)

    def read_index(self, context: bytes) -> None:
        """Requests a ReadState with this context. Lost if leadership changes meanwhile, so repeat it after a deadline."""
        read_index.request(self._state, context)

    def suspect_leader(self, peer: int) -> None:
        """The connection from a peer has broken: if it leads, an election starts soon unless it is heard again."""
        election.suspect_leader(self._state, peer)

    def report_unreachable(self, peer: int) -> None:
        """The transport could not deliver to the peer."""
        replication.report_unreachable(self._state, peer)

    def report_snapshot(self, peer: int, ok: bool) -> None:
        """A SNAPSHOT message was delivered, or not. Must be called for each one: until then the peer gets no appends."""
        replication.report_snapshot(self._state, peer, ok=ok)

    @property
    def pending_snapshot(self) -> Snapshot | None:
        """A snapshot from the leader that was accepted and will be restored with a later `Ready`."""
        return self._state.log.snapshot

    def has_ready(self) -> bool:
        """Whether `ready()` returns anything; false while a `Ready` is outstanding."""
        if self._outstanding:
            return False
        state = self._state
        replication.flush(state)
        return bool(
            state.messages
            or state.after_sync
            or state.read_states
            or state.log.has_unstable()
            or state.log.snapshot
            or state.log.has_next_committed()
            or state.hard_state != self._hard_state
            or state.soft_state != self._soft_state,
        )

    def ready(self) -> Ready:
        """The work to do now. Raises InvariantError while the previous one is not advanced."""
        if self._outstanding:
            raise InvariantError("the previous Ready has not been advanced")
        state = self._state
        replication.flush(state)
        hard, soft = state.hard_state, state.soft_state
        old_hard, old_soft = self._hard_state, self._soft_state
        entries = state.log.unstable()
        snapshot = state.log.snapshot
        after_sync = state.after_sync
        self._to_self = [message for message in after_sync if message.to == state.id]
        if self._to_self:
            after_sync = [message for message in after_sync if message.to != state.id]
        ready = Ready(
            soft_state=soft if soft != old_soft else None,
            hard_state=hard if hard != old_hard else None,
            entries=entries,
            snapshot=snapshot,
            committed=state.log.next_committed(state.config.max_bytes_per_apply),
            messages=state.messages,
            messages_after_sync=after_sync,
            read_states=state.read_states,
            must_sync=bool(entries or snapshot or hard.term != old_hard.term or hard.vote != old_hard.vote),
        )
        state.messages, state.after_sync, state.read_states = [], [], []
        self._hard_state, self._soft_state = hard, soft
        self._outstanding = ready
        return ready

    def advance(self, ready: Ready) -> None:
        """The driver has carried out `ready`: it is durable and applied."""
        if ready is not self._outstanding:
            raise InvariantError("only the latest Ready can be advanced, once")
        self._outstanding = None
        state = self._state
        if ready.snapshot:
            state.log.snapshot_stable(ready.snapshot.metadata.index)
        if ready.entries:
            state.log.stable_to(ready.entries[-1].index, ready.entries[-1].term)
        if ready.committed:
            state.log.applied_to(ready.committed[-1].index)
            state.release_uncommitted(ready.committed)
        for message in self._to_self:
            raft.step(state, message)
        self._to_self = []
        if state.role is Role.LEADER:
            replication.acknowledge_own(state)
            membership.leave_joint_if_due(state)

    def status(self) -> Status:
        """The state of this node, for operators and metrics."""
        state = self._state
        leading = state.role is Role.LEADER
        peers = {
            peer: PeerStatus(
                match=progress.match,
                next=progress.next,
                state=progress.state,
                is_learner=progress.is_learner,
                recent_active=progress.recent_active or peer == state.id,
                inflight=progress.inflight,
                inflight_bytes=progress.inflight_bytes,
            )
            for peer, progress in (state.tracker.progress.items() if leading else ())
        }
        return Status(
            id=state.id,
            role=state.role,
            term=state.term,
            vote=state.vote,
            leader=state.leader,
            commit=state.log.committed,
            applied=state.log.applied,
            first_index=state.log.first_index(),
            last_index=state.log.last_index(),
            transferee=state.transferee,
            conf_state=state.tracker.conf,
            peers=peers,
        )
