"""Planted bugs (mutations) of the product's code, each one that some Raft implementation, driver or store has had.

They show that the invariants can fail: `test_raft_mutations` requires each one to be caught within a few seeds, and the
same seed to pass without it. A mutation replaces one real attribute; `mutated` installs it for the length of a `with`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from manager.raft import log_recovery, wal
from manager.raft.core import HardState, MemoryStorage, ProgressState, Role, election, follower, quorum, replication
from manager.raft.core.log import RaftLog
from manager.raft.core.quorum import VoteResult, agreed_index, tally
from manager.raft.core.read_queue import ReadQueue
from manager.raft.core.state import RaftState
from manager.raft.core.tracker import ProgressTracker
from manager.raft.pending_proposals import PendingProposals
from manager.raft.pending_reads import PendingReads
from manager.store import applier, snapshot
from manager.store.schema import CONFIGS
from manager.store.table import TableState
from tests.simulation.simulator.fault_rates import FaultRates

NO_FAULTS = FaultRates(
    drop=0.0,
    duplicate=0.0,
    delay=5,
    sync=3,
    propose=10,
    crash=0,
    down=30,
    partition=0,
    change=0,
    transfer=0,
    compact=0,
    read=0,
    message_bytes=1 << 20,
    window=16,
    pre_vote=False,
    check_quorum=False,
    election_tick=4,
)
FIGURE_8 = replace(NO_FAULTS, drop=0.1, delay=25, propose=4, crash=80, down=50, partition=60, message_bytes=1, window=1)


class Mutation(NamedTuple):
    name: str
    owner: Any
    attribute: str
    make: Callable[[Any], Any]
    """Makes the replacement from the real attribute."""
    size: int
    rates: FaultRates
    """The faults that reveal this bug."""
    invariants: tuple[str, ...]
    """The names of the invariants that may detect it first."""


@contextmanager
def mutated(bug: Mutation) -> Iterator[None]:
    real = vars(bug.owner)[bug.attribute]
    setattr(bug.owner, bug.attribute, bug.make(real))
    try:
        yield
    finally:
        setattr(bug.owner, bug.attribute, real)


# Five bugs that every test of Raft should find.


def _vote_is_not_persisted(real: Any) -> Any:
    def hard_state(self: RaftState) -> HardState:
        hard = real.fget(self)
        return HardState(hard.term, 0, hard.commit)

    return property(hard_state)


def _commits_by_count(_: Any) -> Any:
    def maybe_commit(self: RaftLog, index: int, term: int) -> bool:  # noqa: ARG001
        return index > self.committed and self.commit_to(index)

    return maybe_commit


def _restore_keeps_former_members(real: Any) -> Any:
    def restore(state: RaftState, taken: Any) -> bool:
        conf = state.tracker.conf
        done = real(state, taken)
        if done:
            state.tracker.set_conf(conf, next_index=1)
        return bool(done)

    return restore


def _sends_before_durable(_: Any) -> Any:
    def send_after_sync(self: RaftState, message: Any) -> None:
        (self.after_sync if message.to == self.id else self.messages).append(message)

    return send_after_sync


def _always_truncates(_: Any) -> Any:
    def maybe_append(self: RaftLog, index: int, term: int, commit: int, entries: Any) -> int | None:
        if not self.matches(index, term):
            return None
        if entries:
            self._replace_from(entries)
        self.commit_to(min(commit, index + len(entries)))
        return index + len(entries)

    return maybe_append


# Other bugs of the core.


def _own_entries_count_at_once(real: Any) -> Any:
    def append_own(self: RaftState, proposals: Any) -> None:
        real(self, proposals)
        if self.own_progress and self.own_progress.state is ProgressState.REPLICATE:
            self.own_progress.maybe_update(self.log.last_index())
            replication.maybe_commit(self)

    return append_own


def _grants_to_any_log(_: Any) -> Any:
    return lambda self, last_index, last_term: True  # noqa: ARG005


def _commits_by_incoming_voters(_: Any) -> Any:
    return lambda self: agreed_index(self.conf.voters, self._match)


def _elects_by_incoming_voters(_: Any) -> Any:
    return lambda self, votes: tally(self.conf.voters, votes)


def _half_commits(_: Any) -> Any:
    def agreed(voters: Any, acked: Any) -> int:
        return sorted(map(acked, voters))[len(voters) // 2] if voters else quorum.NO_LIMIT

    return agreed


def _half_elects(real: Any) -> Any:
    def counted(voters: Any, votes: Any) -> Any:
        yes = sum(votes.get(voter) is True for voter in voters)
        return VoteResult.WON if 2 * yes >= len(voters) else real(voters, votes)

    return counted


def _learners_count(_: Any) -> Any:
    return lambda self: agreed_index((*self.conf.voters, *self.conf.learners), self._match)


def _campaigns_before_a_change_counts(_: Any) -> Any:
    return lambda state: state.role is not Role.LEADER and state.promotable


def _new_leader_ignores_changes(real: Any) -> Any:
    def become_leader(self: RaftState) -> None:
        real(self)
        self.pending_conf_index = 0

    return become_leader


def _learners_campaign(_: Any) -> Any:
    return property(lambda self: self.own_progress is not None and self.log.snapshot is None)


def _commit_index_without_written_entries(real: Any) -> Any:
    def hard_state(self: RaftState) -> HardState:
        hard = real.fget(self)
        return HardState(hard.term, hard.vote, min(hard.commit, self.log.stable_index))

    return property(hard_state)


def _one_acknowledgement_suffices(real: Any) -> Any:
    def acknowledge(self: ReadQueue, peer: int, context: bytes) -> dict[int, int]:
        real(self, peer, context)
        return dict.fromkeys(range(1, 20), self._round)

    return acknowledge


def _applies_the_last_again(_: Any) -> Any:
    def applied_to(self: RaftLog, index: int) -> None:
        self.applied = max(self.applied, index - 1)

    return applied_to


# Pending proposals and reads.


def _resolves_before_applied(_: Any) -> Any:
    return lambda self, index, term, answer: answer.set_result(index)  # noqa: ARG005


def _resolves_another_proposal(real: Any) -> Any:
    return lambda self, index, term, answer: real(self, index - 1, term, answer)


def _rejects_when_deposed(_: Any) -> Any:
    def tick(self: PendingProposals, leading_term: int) -> None:
        if not leading_term:
            self._reject_before(1 << 62)

    return tick


def _reads_share_earlier_request(real: Any) -> Any:
    def confirmed(self: PendingReads, context: bytes, index: int) -> None:
        if context == self._context:
            self._requested, self._waiting = self._requested + self._waiting, []
        real(self, context, index)

    return confirmed


def _reads_do_not_wait(_: Any) -> Any:
    def applied_up_to(self: PendingReads, index: int) -> None:  # noqa: ARG001
        for needed, answer in self._confirmed:
            answer.set_result(needed)
        self._confirmed = []

    return applied_up_to


# The disk.


def _restart_forgets_the_vote(real: Any) -> Any:
    def rebuild(latest: Any, replay: Any) -> MemoryStorage:
        storage: MemoryStorage = real(latest, replay)
        hard = storage.initial_state()[0]
        storage.set_hard_state(HardState(hard.term, 0, hard.commit))
        return storage

    return rebuild


def _restart_forgets_the_last_entry(real: Any) -> Any:
    def append(self: Any, path: Any, entries: Any) -> None:
        real(self, path, entries[:-1] if len(entries) > 2 else entries)

    return append


def _log_does_not_record_snapshot(_: Any) -> Any:
    return lambda latest, replay: None  # noqa: ARG005


# The store.


def _versions_are_not_checked(_: Any) -> Any:
    return lambda proposed, before: True  # noqa: ARG005


def _names_are_not_checked(_: Any) -> Any:
    return lambda after, proposed: True  # noqa: ARG005


def _snapshot_loses_an_object(real: Any) -> Any:
    def encode(view: Any, members: Any) -> bytes:
        ids = sorted(view.state(CONFIGS).objects)
        return bytes(real(view.put(CONFIGS, ids[0], None) if ids else view, members))

    return encode


def _snapshot_names_no_members(real: Any) -> Any:
    return lambda view, members: real(view, members[:1] if view.version else members)


def _restore_loses_an_index(real: Any) -> Any:
    def of(cls: type[TableState], schema: Any, items: Any) -> TableState:
        state: TableState = real.__func__(cls, schema, items)
        if schema is CONFIGS and state.objects:
            state.indexes["name"] = type(state.indexes["name"])()
        return state

    return classmethod(of)


def _updates_keep_the_old_version(real: Any) -> Any:
    def written(view: Any, proposed: Any, before: Any, index: int, now_ns: int) -> Any:
        item = real(view, proposed, before, index, now_ns)
        if item is None or before is None:
            return item
        return msgspec.structs.replace(item, meta=before.meta)

    return written


_SENT_SNAPSHOTS = replace(
    NO_FAULTS,
    propose=4,
    compact=8,
    crash=60,
    down=20,
    sync=8,
    partition=150,
    election_tick=8,
    segment_frames=200,
    drop=0.05,
)
_DISK = replace(NO_FAULTS, propose=4, compact=12, crash=40, down=25, sync=12, partition=150, drop=0.05, election_tick=6)
_DOUBLE_CHANGE = replace(NO_FAULTS, double_change=60, sync=8)
_STORE = replace(NO_FAULTS, propose=2, sync=8, delay=8, crash=200)
_BEFORE_DURABLE = (
    "a term is durable before it is sent",
    "a vote is durable before it is sent",
    "an entry is durable before it is acknowledged",
    "one vote per term",
    "elected by a majority",
    "durable majority",
)

MUTATIONS = (
    Mutation(
        "a vote is not persisted",
        RaftState,
        "hard_state",
        _vote_is_not_persisted,
        5,
        replace(NO_FAULTS, crash=60, down=10, delay=30),
        _BEFORE_DURABLE,
    ),
    Mutation(
        "an entry of an older term is committed by count",
        RaftLog,
        "maybe_commit",
        _commits_by_count,
        3,
        FIGURE_8,
        ("leader completeness", "state machine safety", "no manager stops by itself"),
    ),
    Mutation(
        "a snapshot from the leader forgets the membership",
        follower,
        "_restore",
        _restore_keeps_former_members,
        3,
        replace(NO_FAULTS, change=60, compact=20, crash=150, propose=5),
        ("members agree", "elected by a majority", "durable majority"),
    ),
    Mutation(
        "an acknowledgement is sent before the flush",
        RaftState,
        "send_after_sync",
        _sends_before_durable,
        3,
        replace(NO_FAULTS, sync=60, crash=100),
        _BEFORE_DURABLE,
    ),
    Mutation(
        "a late append truncates committed entries",
        RaftLog,
        "maybe_append",
        _always_truncates,
        3,
        replace(NO_FAULTS, duplicate=0.2, delay=40, propose=5),
        (
            "durable majority",
            "committed entries never change",
            "an entry is durable before it is acknowledged",
            "no manager stops by itself",
        ),
    ),
    Mutation(
        "the leader counts its own entries before they are flushed",
        RaftState,
        "append_own",
        _own_entries_count_at_once,
        3,
        replace(NO_FAULTS, sync=60),
        ("durable majority",),
    ),
    Mutation(
        "a vote is granted to an outdated log",
        RaftLog,
        "is_up_to_date",
        _grants_to_any_log,
        3,
        replace(NO_FAULTS, drop=0.1, partition=100),
        ("leader completeness", "state machine safety"),
    ),
    Mutation(
        "only the incoming voters commit while joint",
        ProgressTracker,
        "committed_index",
        _commits_by_incoming_voters,
        5,
        replace(NO_FAULTS, change=60, partition=150, delay=20),
        ("durable majority",),
    ),
    Mutation(
        "only the incoming voters elect while joint",
        ProgressTracker,
        "tally",
        _elects_by_incoming_voters,
        5,
        replace(NO_FAULTS, change=50, partition=100, delay=20, crash=100, drop=0.1),
        ("elected by a majority", "election safety", "leader completeness"),
    ),
    Mutation(
        "half of an even number commits",
        quorum,
        "agreed_index",
        _half_commits,
        3,
        replace(NO_FAULTS, change=50, delay=20, drop=0.1),
        ("durable majority",),
    ),
    Mutation(
        "half of an even number elects",
        quorum,
        "tally",
        _half_elects,
        3,
        replace(NO_FAULTS, change=50, partition=100, delay=20, crash=100, drop=0.1),
        ("elected by a majority",),
    ),
    Mutation(
        "learners count toward a majority",
        ProgressTracker,
        "committed_index",
        _learners_count,
        3,
        replace(NO_FAULTS, change=50, delay=20, drop=0.1),
        ("durable majority",),
    ),
    Mutation(
        "a node campaigns before a committed configuration is applied",
        election,
        "_may_campaign",
        _campaigns_before_a_change_counts,
        3,
        replace(_DOUBLE_CHANGE, apply=15, apply_bytes=1),
        ("a committed change is applied before a campaign",),
    ),
    Mutation(
        "a new leader ignores a configuration change in its log",
        RaftState,
        "become_leader",
        _new_leader_ignores_changes,
        5,
        replace(NO_FAULTS, change=20, crash=150, partition=100, delay=20, drop=0.1),
        ("one change at a time",),
    ),
    Mutation(
        "a learner campaigns",
        RaftState,
        "promotable",
        _learners_campaign,
        3,
        replace(NO_FAULTS, change=50, delay=20, drop=0.1),
        ("only voters campaign",),
    ),
    Mutation(
        "the commit index on disk does not cover the entries written with it",
        RaftState,
        "hard_state",
        _commit_index_without_written_entries,
        3,
        _DOUBLE_CHANGE,
        (
            "one change at a time",
            "leader completeness",
            "state machine safety",
            "election safety",
            "no manager stops by itself",
        ),
    ),
    Mutation(
        "a read is answered without a quorum",
        ReadQueue,
        "acknowledge",
        _one_acknowledgement_suffices,
        5,
        replace(NO_FAULTS, partition=150, read=5),
        ("linearizable reads",),
    ),
    Mutation(
        "a request is applied twice",
        RaftLog,
        "applied_to",
        _applies_the_last_again,
        3,
        NO_FAULTS,
        ("applied in order",),
    ),
    Mutation(
        "a write is acknowledged before it is applied",
        PendingProposals,
        "track",
        _resolves_before_applied,
        3,
        NO_FAULTS,
        ("acknowledged when applied",),
    ),
    Mutation(
        "a result belongs to another proposal",
        PendingProposals,
        "track",
        _resolves_another_proposal,
        3,
        replace(NO_FAULTS, propose=2, delay=20),
        ("each client gets its own result",),
    ),
    Mutation(
        "a proposal that may still be committed is rejected",
        PendingProposals,
        "tick",
        _rejects_when_deposed,
        5,
        replace(NO_FAULTS, propose=3, delay=30, partition=100, drop=0.05),
        ("a rejected request has no effect",),
    ),
    Mutation(
        "a read shares an earlier request",
        PendingReads,
        "confirmed",
        _reads_share_earlier_request,
        5,
        replace(NO_FAULTS, propose=2, read=2, delay=20),
        ("linearizable reads",),
    ),
    Mutation(
        "a read does not wait until its index is applied",
        PendingReads,
        "applied_up_to",
        _reads_do_not_wait,
        5,
        replace(NO_FAULTS, propose=2, read=2, delay=20),
        ("linearizable reads",),
    ),
    Mutation(
        "a restart forgets the vote",
        log_recovery,
        "recover_log",
        _restart_forgets_the_vote,
        3,
        replace(NO_FAULTS, crash=60, down=10),
        ("flushed data survives",),
    ),
    Mutation(
        "a restart forgets the last entry",
        wal._LogBuilder,
        "_append",
        _restart_forgets_the_last_entry,
        3,
        replace(NO_FAULTS, crash=60, down=10, propose=3, sync=20),
        ("flushed data survives", "no manager stops by itself"),
    ),
    Mutation(
        "the log does not record the snapshot that replaced it",
        log_recovery,
        "unlogged_reset",
        _log_does_not_record_snapshot,
        3,
        _SENT_SNAPSHOTS,
        ("no manager stops by itself", "flushed data survives"),
    ),
    Mutation(
        "expected versions are not checked",
        applier,
        "_version_matches",
        _versions_are_not_checked,
        3,
        _STORE,
        ("stores agree",),
    ),
    Mutation(
        "unique names are not checked",
        applier,
        "_name_is_free",
        _names_are_not_checked,
        3,
        _STORE,
        ("stores agree",),
    ),
    Mutation(
        "an update keeps the old version",
        applier,
        "_with_meta",
        _updates_keep_the_old_version,
        3,
        _STORE,
        ("stores agree",),
    ),
    Mutation(
        "a snapshot loses an object",
        snapshot,
        "encode",
        _snapshot_loses_an_object,
        3,
        _DISK,
        ("stores agree",),
    ),
    Mutation(
        "a snapshot loses the members",
        snapshot,
        "encode",
        _snapshot_names_no_members,
        3,
        _DISK,
        ("members agree",),
    ),
    Mutation(
        "a restored snapshot loses an index",
        TableState,
        "of",
        _restore_loses_an_index,
        3,
        _DISK,
        ("stores agree",),
    ),
)
