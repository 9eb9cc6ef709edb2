"""Invariants of Raft and of the store above it, checked on the manager that an event touched, after every event.

Each check compares the touched node with everything ever observed, so it holds for all nodes: nothing else has changed.
The names are those of the Raft paper, figure 3, and of the thesis, section 6.4 (reads) and chapter 4 (membership).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manager.raft.core import ConfState, Entry, EntryKind, Message, MessageKind, Role
from tests.simulation.simulator.state_model import StateModel

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from manager.store import Member
    from tests.simulation.simulator.simulated_manager import SimulatedManager


class InvariantViolatedError(AssertionError):
    """An invariant does not hold. `invariant` is its name."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant


def require(holds: bool, invariant: str, detail: str) -> None:
    if not holds:
        raise InvariantViolatedError(invariant, detail)


class RaftInvariants:
    """Everything ever observed of all nodes, and the checks."""

    def __init__(self, hosts: Mapping[int, SimulatedManager], conf: ConfState) -> None:
        self.hosts = hosts
        self.leaders: dict[int, int] = {}
        self.votes: dict[tuple[int, int], int] = {}
        self.entries: dict[tuple[int, int], tuple[Entry, int]] = {}
        self.committed: dict[int, Entry] = {}
        self.max_committed = 1
        self.acknowledged: dict[int, int] = {}
        self.refused: set[int] = set()
        self.model = StateModel(1)
        self.confs: dict[int, ConfState] = {0: ConfState(), 1: conf}
        self.members: dict[int, tuple[Member, ...]] = {}
        self.reads = 0
        self._seen: dict[int, tuple[object, ...]] = {}
        self._seen_commit: dict[int, int] = {}

    def forget(self, host: SimulatedManager) -> None:
        """The host lost its memory; its commit index counts again only when it reports one."""
        self._seen.pop(host.id, None)
        self._seen_commit.pop(host.id, None)

    def observe(self, host: SimulatedManager) -> None:
        """Checks what the last event may have changed on this host."""
        state = host.node._state
        log = state.log
        now = (state.term, state.role, log._offset, log.last_index(), log.last_term(), log.committed, log.snapshot)
        before = self._seen.get(host.id)
        if before == now:
            return
        self._seen[host.id] = now
        if before and before[:2] == (state.term, Role.LEADER) and state.role is Role.LEADER:
            require(
                log.matches(before[3], before[4]),
                "leader append-only",
                f"node {host.id} leads term {state.term} and lost entry {before[3]} of term {before[4]}",
            )
        self._log_matching(host)
        self._commit(host)
        if state.role in _CANDIDATES and (before is None or before[1] not in _CANDIDATES):
            self._may_campaign_check(host)
        if state.role is Role.LEADER:
            unapplied = _changes(host, log.last_index())
            require(len(unapplied) <= 1, "one change at a time", f"leader {host.id} holds changes at {unapplied}")
            if state.term not in self.leaders:
                self._leader_completeness(host)
                self._elected(host)
            first = self.leaders.setdefault(state.term, host.id)
            require(first == host.id, "election safety", f"{first} and {host.id} both lead in term {state.term}")

    def _log_matching(self, host: SimulatedManager) -> None:
        """An entry of one index and term is the same everywhere, and so is the one before it; hence all earlier ones are."""
        log = host.node._state.log
        tail = log._tail
        if not tail:
            return
        previous_term = log.term(tail[0].index - 1) if tail[0].index > 1 else 0
        for entry in tail:
            first, first_previous = self.entries.setdefault((entry.index, entry.term), (entry, previous_term))
            if first != entry or first_previous != previous_term:
                seen = f"{entry} after term {previous_term}, seen before: {first} after {first_previous}"
                raise InvariantViolatedError("log matching", f"node {host.id} holds {seen}")
            previous_term = entry.term

    def _commit(self, host: SimulatedManager) -> None:
        state = host.node._state
        log = state.log
        before = self._seen_commit.get(host.id, 0)
        require(log.committed >= before, "commit never falls", f"node {host.id} from {before} to {log.committed}")
        self._seen_commit[host.id] = log.committed
        low = max(before + 1, log.first_index())
        for entry in log.slice(low, log.committed + 1, 1 << 40):
            first = self.committed.setdefault(entry.index, entry)
            if first != entry:
                raise InvariantViolatedError(
                    "state machine safety", f"node {host.id} committed {entry}, seen before: {first}"
                )
        known = self.committed.get(log.committed)
        if known and not log.matches(log.committed, known.term):
            raise InvariantViolatedError("committed entries never change", f"node {host.id} no longer holds {known}")
        self.max_committed = max(self.max_committed, log.committed)
        if state.role is Role.LEADER and log.committed > before > 0:
            self._durable_majority(host)

    def _durable_majority(self, leader: SimulatedManager) -> None:
        """A committed entry is on the disks of a majority (of both majorities while joint); learners do not count."""
        state = leader.node._state
        entry = self.committed.get(state.log.committed)
        if entry is None or entry.term != state.term:
            return  # of an older term: learned from a vote, perhaps committed by a configuration that is not applied here yet
        holders = [host.id for host in self.hosts.values() if host.disk.holds(entry)]
        require(
            _majority(state.tracker.conf, holders),
            "durable majority",
            f"leader {leader.id} committed {entry}, held by {holders}",
        )

    def _leader_completeness(self, leader: SimulatedManager) -> None:
        """A new leader has every entry that was ever committed in an earlier term."""
        state = leader.node._state
        for index in range(state.log.first_index(), self.max_committed + 1):
            entry = self.committed.get(index)
            if entry and entry.term < state.term:
                require(
                    state.log.matches(index, entry.term),
                    "leader completeness",
                    f"node {leader.id} leads term {state.term} without the committed {entry}",
                )

    @staticmethod
    def _may_campaign_check(host: SimulatedManager) -> None:
        """A candidate is a voter of the configuration that it applied, and knows of no later committed one."""
        state = host.node._state
        conf = state.tracker.conf
        require(
            host.id in conf.voters or host.id in conf.voters_outgoing,
            "only voters campaign",
            f"node {host.id} campaigns under {conf}",
        )
        unapplied = _changes(host, state.log.committed)
        require(
            not unapplied,
            "a committed change is applied before a campaign",
            f"node {host.id} campaigns before changes at {unapplied}",
        )

    def _elected(self, leader: SimulatedManager) -> None:
        """A majority of the voters (of both majorities while joint) voted for it; its own vote counts when it is on its disk."""
        state = leader.node._state
        term = state.term
        votes = {voter for (voter, at), to in self.votes.items() if at == term and to == leader.id}
        hard = leader.disk.flushed.initial_state()[0]
        if (hard.term, hard.vote) == (term, leader.id):
            votes.add(leader.id)
        won = _majority(state.tracker.conf, votes)
        require(won, "elected by a majority", f"node {leader.id} leads term {term} with the votes of {sorted(votes)}")

    def message_sent(self, message: Message) -> None:
        """A message leaves: what it claims is on the sender's disk, and a node votes once per term in spite of crashes."""
        kind = message.kind
        if kind is MessageKind.PRE_VOTE or kind is MessageKind.PRE_VOTE_REPLY:
            return
        flushed = self.hosts[message.from_].disk.flushed
        hard = flushed._hard_state
        if hard.term < message.term:
            raise InvariantViolatedError(
                "a term is durable before it is sent", f"{hard} is on disk, leaving: {message}"
            )
        if kind is MessageKind.VOTE_REPLY and not message.reject:
            first = self.votes.setdefault((message.from_, message.term), message.to)
            require(
                first == message.to,
                "one vote per term",
                f"node {message.from_} voted for {first} and {message.to} in term {message.term}",
            )
            require(
                hard.term > message.term or hard.vote == message.to,
                "a vote is durable before it is sent",
                f"{hard} is on disk, leaving: {message}",
            )
        elif kind is MessageKind.APPEND_REPLY and not message.reject and flushed.last_index() < message.index:
            told = f"node {message.from_} acknowledges {message.index}, on disk: {flushed.last_index()}"
            raise InvariantViolatedError("an entry is durable before it is acknowledged", told)

    def applied(self, host: SimulatedManager, entry: Entry) -> None:
        """A state machine applies an entry: the next one, and each entry once."""
        require(
            entry.index == host.applied + 1,
            "applied in order",
            f"node {host.id} applies {entry.index} after {host.applied}",
        )
        first = self.committed.setdefault(entry.index, entry)
        if first != entry:
            raise InvariantViolatedError(
                "state machine safety", f"node {host.id} applies {entry}, committed is {first}"
            )
        model = self.model
        if entry.index not in model.states:
            model.advance(entry.index, entry.data if entry.kind is EntryKind.NORMAL else b"")

    def check_transaction(self, host: SimulatedManager, index: int, *, accepted: bool) -> None:
        """The store applied an entry with the same result as the model and every other manager."""
        model = self.model
        require(
            model.accepted[index] == accepted,
            "stores agree",
            f"node {host.id}: the transaction at {index} was accepted: {accepted}, by the log: {model.accepted[index]}",
        )
        difference = model.difference(index, host.store.view())
        require(not difference, "stores agree", f"node {host.id} at index {index}: {difference}")

    def check_restored(self, host: SimulatedManager, index: int) -> None:
        """The store was replaced by a snapshot, or is compared completely."""
        require(index in self.model.states, "state machine safety", f"node {host.id}: nobody has applied index {index}")
        difference = self.model.full_difference(index, host.store.view())
        require(not difference, "stores agree", f"node {host.id} at index {index}: {difference}")

    def acknowledge(self, host: SimulatedManager, index: int, request: int) -> None:
        """A client is told that its transaction was applied at an index: its own one, applied here, and for the first time."""
        require(
            host.applied >= index, "acknowledged when applied", f"node {host.id} answers for {index} at {host.applied}"
        )
        found = self.model.request_at.get(index)
        require(
            found == request,
            "each client gets its own result",
            f"index {index} belongs to {found}, but was acknowledged to {request}",
        )
        if not self.model.accepted[index]:
            return  # the store repeats the transaction
        times = self.model.requests[request]
        require(times == 1, "applied once", f"request {request} at index {index} took effect {times} times")
        self.acknowledged[index] = request

    def rejected(self, request: int) -> None:
        """A client is told that its transaction had no effect and never will."""
        self.refused.add(request)

    def check_members(self, host: SimulatedManager, index: int, conf: ConfState, members: Sequence[Member]) -> None:
        """All managers that applied an index see the same members; two neighbouring configurations cannot decide independently."""
        if index not in self.confs:
            self._overlap(index, self.confs[index - 1], conf)
        first = self.confs.setdefault(index, conf)
        if first is not conf and first != conf:
            raise InvariantViolatedError(
                "members agree", f"node {host.id} sees {conf} at {index}, seen before: {first}"
            )
        known = tuple(members)
        others = self.members.setdefault(index, known)
        if others != known:
            raise InvariantViolatedError("members agree", f"node {host.id} at {index}: {known}, seen before: {others}")

    @staticmethod
    def _overlap(index: int, before: ConfState, after: ConfState) -> None:
        if before is after or before == after:
            return
        halves = [{*voters} for voters in (before.voters, before.voters_outgoing) if voters]
        others = [{*voters} for voters in (after.voters, after.voters_outgoing) if voters]
        safe = any(_majorities_meet(half, other) for half in halves for other in others)
        require(
            safe,
            "neighbouring configurations overlap",
            f"at {index} {before} becomes {after}, and both can decide alone",
        )

    def read(self, host: SimulatedManager, index: int, requested_at: int) -> None:
        """A read covers every write that was committed when it was requested, and is served from a state that includes it."""
        self.reads += 1
        require(
            index >= requested_at,
            "linearizable reads",
            f"node {host.id} may read at {index}, committed were {requested_at}",
        )
        require(
            host.applied >= index, "linearizable reads", f"node {host.id} reads at {index}, applied: {host.applied}"
        )

    def check_nothing_lost(self, host: SimulatedManager) -> None:
        """In the end every acknowledged write is in the log that this manager applied, and its store matches that log."""
        last = max(self.acknowledged, default=0)
        require(
            host.applied >= last, "nothing acknowledged is lost", f"node {host.id} ends at {host.applied} of {last}"
        )
        for index, request in self.acknowledged.items():
            require(
                self.model.accepted.get(index, False) and self.model.requests.get(request) == 1,
                "nothing acknowledged is lost",
                f"request {request} was acknowledged at index {index}",
            )
        took_effect = [request for request in self.refused if self.model.requests.get(request)]
        require(not took_effect, "a rejected request has no effect", f"requests {took_effect} took effect")
        self.check_restored(host, host.applied)


_CANDIDATES = (Role.PRE_CANDIDATE, Role.CANDIDATE)


def _changes(host: SimulatedManager, last: int) -> list[int]:
    """The indexes of unapplied configuration changes in its log, up to an index."""
    log = host.node._state.log
    first = max(log.applied + 1, log.first_index())
    entries = log.slice(first, last + 1, 1 << 40) if first <= last else []
    return [entry.index for entry in entries if entry.kind is EntryKind.CONF_CHANGE]


def _majority(conf: ConfState, those: Collection[int]) -> bool:
    """Whether these are more than half of the voters (of both halves while joint). Does not use the product's count, which is under
    test.
    """
    sides = [{*voters} for voters in (conf.voters, conf.voters_outgoing) if voters]
    return all(2 * len(side & {*those}) > len(side) for side in sides)


def _majorities_meet(one: set[int], other: set[int]) -> bool:
    """Whether every majority of one shares a member with every majority of the other."""
    shared = len(one & other)
    needed = max(0, len(one) // 2 + 1 - len(one - other)) + max(0, len(other) // 2 + 1 - len(other - one))
    return needed > shared
