"""Rules of figure 2 of the Raft paper and of the sections behind them, one test per rule."""

from __future__ import annotations

import pytest

from manager.raft.core import (
    DataLossError,
    Entry,
    HardState,
    InvariantError,
    Message,
    MessageKind,
    ProposalDropped,
    Role,
)
from tests.support.raft_harness import NodeHarness

K = MessageKind


def entry(index: int, term: int) -> Entry:
    return Entry(term, index, data=b"%d/%d" % (index, term))


# --- 5.1 terms


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
def test_5_1_a_node_that_sees_a_higher_term_adopts_it_and_follows(role: Role) -> None:
    harness = NodeHarness(pre_vote=False)
    if role is Role.CANDIDATE:
        harness.node.campaign()
        harness.pump()
    elif role is Role.LEADER:
        harness.lead()
    assert harness.state.role is role
    harness.receive(K.APPEND, term=9, index=1, log_term=1)
    assert (harness.state.term, harness.state.role, harness.state.leader) == (9, Role.FOLLOWER, 2)
    assert harness.disk.initial_state()[0] == HardState(9, 0, 1)


def test_5_1_an_append_of_an_older_term_changes_nothing_and_is_answered_with_the_newer_term() -> None:
    harness = NodeHarness(term=5)
    (reply,) = harness.receive(K.APPEND, term=4, index=1, log_term=1, entries=(entry(2, 4),))
    assert (reply.kind, reply.term) == (K.APPEND_REPLY, 5)
    assert harness.disk.last_index() == 1


def test_5_1_a_vote_request_of_an_older_term_is_not_granted() -> None:
    harness = NodeHarness(term=5)
    assert harness.receive(K.VOTE, term=4, index=9, log_term=4) == []
    (reply,) = harness.receive(K.PRE_VOTE, term=4, index=9, log_term=4)
    assert reply.reject
    assert harness.state.vote == 0


# --- 5.2 elections


def test_5_2_a_follower_campaigns_when_it_hears_from_no_leader_for_an_election_timeout() -> None:
    harness = NodeHarness(pre_vote=False)
    assert harness.tick(9) == []
    requests = harness.tick()
    assert [(m.kind, m.to, m.term) for m in requests] == [(K.VOTE, 2, 2), (K.VOTE, 3, 2)]
    assert harness.disk.initial_state()[0] == HardState(2, 1, 1)


def test_5_2_a_heartbeat_resets_the_election_timeout() -> None:
    harness = NodeHarness(pre_vote=False)
    harness.tick(9)
    harness.receive(K.HEARTBEAT)
    assert harness.tick(9) == []
    assert harness.state.role is Role.FOLLOWER


@pytest.mark.parametrize(
    ("size", "yes", "no", "role"),
    [
        (1, 0, 0, Role.LEADER),
        (3, 1, 0, Role.LEADER),
        (3, 1, 1, Role.LEADER),
        (3, 0, 1, Role.CANDIDATE),
        (3, 0, 2, Role.FOLLOWER),
        (5, 1, 0, Role.CANDIDATE),
        (5, 2, 2, Role.LEADER),
        (5, 1, 3, Role.FOLLOWER),
    ],
)
def test_5_2_a_candidate_wins_with_a_majority_and_gives_up_without(size: int, yes: int, no: int, role: Role) -> None:
    harness = NodeHarness(size, pre_vote=False)
    harness.node.campaign()
    harness.pump()
    for peer in range(2, 2 + yes + no):
        harness.receive(K.VOTE_REPLY, peer, term=2, reject=peer >= 2 + yes)
    assert harness.state.role is role
    assert harness.state.term == 2


def test_5_2_a_duplicated_vote_counts_once() -> None:
    harness = NodeHarness(5, pre_vote=False)
    harness.node.campaign()
    harness.pump()
    for _ in range(3):
        harness.receive(K.VOTE_REPLY, 2, term=2)
    assert harness.state.role is Role.CANDIDATE


def test_5_2_a_candidate_counts_its_own_vote_only_when_it_is_durable() -> None:
    harness = NodeHarness(1)
    harness.node.campaign()
    ready = harness.node.ready()  # the pre-vote
    harness.node.advance(ready)
    ready = harness.node.ready()
    assert ready.must_sync
    assert ready.hard_state == HardState(2, 1, 1)
    assert harness.state.role is Role.CANDIDATE
    harness.write(ready)
    harness.node.advance(ready)
    assert harness.state.role is Role.LEADER


@pytest.mark.parametrize(("vote", "from_", "granted"), [(0, 2, True), (2, 2, True), (3, 2, False)])
def test_5_2_a_node_votes_once_per_term(vote: int, from_: int, granted: bool) -> None:
    harness = NodeHarness(term=2, pre_vote=False)
    harness.disk.set_hard_state(HardState(2, vote, 1))
    harness.restart()
    (reply,) = harness.receive(K.VOTE, from_, term=2, index=1, log_term=1)
    assert reply.reject is not granted


def test_5_2_a_vote_leaves_after_it_is_durable() -> None:
    harness = NodeHarness()
    harness.node.step(Message(K.VOTE, 1, 2, 7, 1, 1))
    ready = harness.node.ready()
    assert ready.messages == []
    assert ready.must_sync
    assert ready.hard_state == HardState(7, 2, 1)
    assert [m.kind for m in ready.messages_after_sync] == [K.VOTE_REPLY]


def test_5_2_a_candidate_that_hears_from_the_terms_leader_follows_it() -> None:
    harness = NodeHarness(pre_vote=False)
    harness.tick(10)
    assert harness.state.role is Role.CANDIDATE
    harness.receive(K.HEARTBEAT, 3, term=2)
    assert (harness.state.role, harness.state.leader, harness.state.term) == (Role.FOLLOWER, 3, 2)


def test_5_2_a_split_vote_leads_to_another_election_in_a_new_term() -> None:
    harness = NodeHarness(pre_vote=False)
    harness.tick(10)
    harness.tick(10)
    assert (harness.state.role, harness.state.term) == (Role.CANDIDATE, 3)


# --- 5.3 replication


def test_5_3_a_leader_begins_its_term_with_an_empty_entry() -> None:
    harness = NodeHarness(terms=(1, 1)).lead()
    assert harness.disk.entries(4, 5, 1) == [Entry(2, 4)]


def test_5_3_the_leader_commits_what_a_majority_holds_and_tells_the_followers() -> None:
    harness = NodeHarness().leader_with_followers()
    harness.node.propose(b"x")
    harness.pump()
    assert harness.state.log.committed == 2
    said = harness.receive(K.APPEND_REPLY, 2, index=3)
    assert harness.state.log.committed == 3
    assert {(m.kind, m.to, m.commit) for m in said} == {(K.APPEND, 2, 3), (K.APPEND, 3, 3)}
    assert harness.applied[-1].data == b"x"


def test_5_3_the_leaders_own_entry_counts_only_when_it_is_durable() -> None:
    harness = NodeHarness().leader_with_followers()
    harness.node.propose(b"x")
    ready = harness.node.ready()
    assert [(m.to, m.entries[0].data) for m in ready.messages] == [(2, b"x"), (3, b"x")]
    harness.node.step(Message(K.APPEND_REPLY, 1, 2, 2, index=3))
    assert harness.state.log.committed == 2
    harness.write(ready)
    harness.node.advance(ready)
    assert harness.state.log.committed == 3


def test_5_3_a_follower_acknowledges_only_what_is_durable() -> None:
    harness = NodeHarness()
    harness.node.step(Message(K.APPEND, 1, 2, 2, 1, 1, (entry(2, 2),)))
    ready = harness.node.ready()
    assert ready.messages == []
    assert ready.entries == [entry(2, 2)]
    assert [(m.kind, m.index) for m in ready.messages_after_sync] == [(K.APPEND_REPLY, 2)]


@pytest.mark.parametrize(
    ("index", "term", "hint"),
    [(4, 2, (3, 2)), (3, 4, (3, 2)), (3, 1, (1, 1)), (9, 9, (3, 2))],
)
def test_5_3_an_append_that_does_not_match_is_rejected_with_a_hint(
    index: int, term: int, hint: tuple[int, int]
) -> None:
    harness = NodeHarness(terms=(2, 2))
    (reply,) = harness.receive(K.APPEND, term=9, index=index, log_term=term, entries=(entry(index + 1, 9),))
    assert reply.reject
    assert (reply.reject_hint, reply.hint_term) == hint
    assert harness.disk.last_index() == 3


@pytest.mark.parametrize(
    ("index", "term", "entries", "terms"),
    [
        (3, 2, [(4, 3)], [2, 2, 3]),  # adds
        (2, 2, [(3, 3)], [2, 3]),  # replaces what conflicts
        (1, 1, [(2, 3), (3, 3)], [3, 3]),
        (1, 1, [(2, 2)], [2, 2]),  # a late one cuts nothing off
        (1, 1, [], [2, 2]),
        (2, 2, [(3, 2), (4, 3)], [2, 2, 3]),
    ],
)
def test_5_3_a_follower_replaces_what_conflicts_and_keeps_the_rest(
    index: int, term: int, entries: list[tuple[int, int]], terms: list[int]
) -> None:
    harness = NodeHarness(terms=(2, 2))
    harness.receive(K.APPEND, term=3, index=index, log_term=term, entries=tuple(entry(i, t) for i, t in entries))
    assert [e.term for e in harness.disk.entries(2, harness.disk.last_index() + 1, 1 << 20)] == terms


@pytest.mark.parametrize(("commit", "entries", "expected"), [(1, 1, 1), (2, 1, 2), (3, 1, 2), (3, 0, 1), (9, 2, 3)])
def test_5_3_a_follower_commits_up_to_the_leaders_commit_but_not_beyond_the_last_new_entry(
    commit: int, entries: int, expected: int
) -> None:
    harness = NodeHarness(terms=(1, 1))
    harness.receive(K.APPEND, term=2, index=1, log_term=1, commit=commit, entries=(entry(2, 2), entry(3, 2))[:entries])
    assert harness.state.log.committed == expected


def test_5_3_the_leader_goes_back_to_where_the_logs_agree_in_one_step() -> None:
    harness = NodeHarness(terms=(1, 1, 5, 5, 5)).lead()
    (append,) = harness.receive(K.APPEND_REPLY, 2, reject=True, index=6, reject_hint=4, hint_term=2)
    assert (append.index, append.log_term) == (3, 1)
    assert [e.index for e in append.entries] == [4, 5, 6, 7]


def test_5_3_a_conflict_with_a_committed_entry_stops_the_node() -> None:
    harness = NodeHarness(terms=(1, 1))
    harness.receive(K.HEARTBEAT, commit=3)
    with pytest.raises(InvariantError, match="conflicts with a committed entry"):
        harness.node._state.log.maybe_append(1, 1, 3, [entry(2, 2)])


# --- 5.4 safety


@pytest.mark.parametrize(
    ("terms", "last", "granted"),
    [
        ((1,), (2, 1), True),
        ((1,), (3, 1), True),
        ((1,), (1, 1), False),
        ((1,), (1, 2), True),  # the later term wins, though shorter
        ((1, 1, 1), (2, 2), True),
        ((2,), (9, 1), False),  # an older term loses, though longer
        ((1, 1), (2, 1), False),
    ],
)
@pytest.mark.parametrize("kind", [K.VOTE, K.PRE_VOTE])
def test_5_4_1_a_vote_goes_only_to_a_log_at_least_as_up_to_date(
    kind: MessageKind, terms: tuple[int, ...], last: tuple[int, int], granted: bool
) -> None:
    harness = NodeHarness(terms=terms)
    (reply,) = harness.receive(kind, term=9, index=last[0], log_term=last[1])
    assert reply.reject is not granted


def test_5_4_2_entries_of_older_terms_are_not_committed_by_counting() -> None:
    harness = NodeHarness(terms=(1, 2), max_bytes_per_message=1).lead()
    harness.receive(K.APPEND_REPLY, 2, index=3)
    assert harness.state.log.committed == 1
    harness.receive(K.APPEND_REPLY, 2, index=4)
    assert harness.state.log.committed == 4


# --- 5.5 and 3.8: what survives


def test_5_5_a_restarted_node_keeps_term_vote_and_log_and_applies_again_from_its_snapshot() -> None:
    harness = NodeHarness(terms=(1, 1, 2))
    harness.disk.set_hard_state(HardState(2, 3, 4))
    harness.restart()
    status = harness.node.status()
    assert (status.term, status.vote, status.commit, status.applied, status.last_index) == (2, 3, 4, 1, 4)
    harness.pump()
    assert [e.index for e in harness.applied] == [2, 3, 4]


def test_a_disk_that_lost_committed_entries_is_refused_by_name() -> None:
    harness = NodeHarness(terms=(1,))
    harness.disk.set_hard_state(HardState(1, 0, 7))
    with pytest.raises(DataLossError, match="log ends at index 2"):
        harness.restart()


def test_a_follower_that_lost_what_it_acknowledged_stops() -> None:
    harness = NodeHarness(terms=(1,))
    with pytest.raises(DataLossError, match="remove this node from the cluster"):
        harness.receive(K.HEARTBEAT, commit=5)


def test_two_leaders_of_one_term_stop_the_node() -> None:
    harness = NodeHarness().lead()
    with pytest.raises(InvariantError, match="both lead in term 2"):
        harness.receive(K.APPEND, 3, term=2, index=1, log_term=1)


# --- 6 and 9.6: disturbance


def test_9_6_a_pre_vote_changes_neither_term_nor_vote() -> None:
    harness = NodeHarness(term=3)
    harness.tick(10)
    assert (harness.state.role, harness.state.term, harness.state.vote) == (Role.PRE_CANDIDATE, 3, 0)
    assert {(m.kind, m.term) for m in harness.sent} == {(K.PRE_VOTE, 4)}
    other = NodeHarness(term=3)
    (reply,) = other.receive(K.PRE_VOTE, term=4, index=1, log_term=1)
    assert (reply.reject, reply.term) == (False, 4)
    assert (other.state.term, other.state.vote) == (3, 0)


def test_9_6_an_old_pre_vote_does_not_count_for_a_new_one() -> None:
    """1. It asks for term 4, 2. learns of term 5, 3. asks for term 6. A late grant for term 5 does not count for term 6."""
    harness = NodeHarness(term=3)
    harness.tick(10)
    harness.receive(K.PRE_VOTE_REPLY, 3, term=5, reject=True)
    harness.tick(10)
    harness.receive(K.PRE_VOTE_REPLY, 2, term=5)
    assert (harness.state.role, harness.state.term) == (Role.PRE_CANDIDATE, 5)


@pytest.mark.parametrize("kind", [K.VOTE, K.PRE_VOTE])
def test_6_a_node_that_hears_from_its_leader_ignores_other_candidates(kind: MessageKind) -> None:
    harness = NodeHarness()
    harness.receive(K.HEARTBEAT, 2, term=2)
    harness.tick(9)
    assert harness.receive(kind, 3, term=8, index=9, log_term=7) == []
    assert harness.state.term == 2
    harness.receive(K.VOTE, 3, term=8, index=9, log_term=7, context=b"transfer")
    assert harness.state.vote == 3


def test_6_2_a_leader_that_hears_no_majority_for_an_election_timeout_steps_down() -> None:
    harness = NodeHarness(5).lead()
    for peer in (2, 3):
        harness.receive(K.HEARTBEAT_REPLY, peer)
    harness.tick(10)
    assert harness.state.role is Role.LEADER
    harness.receive(K.HEARTBEAT_REPLY, 2)
    harness.tick(10)
    assert harness.state.role is Role.FOLLOWER
    with pytest.raises(ProposalDropped):
        harness.node.propose(b"x")


def test_5_3_an_acknowledgement_does_not_outlive_its_entries() -> None:
    """1. It gets entry 2 of term 1; the write is not done. 2. The leader of term 2 replaces it. 3. It is never acknowledged."""
    harness = NodeHarness(term=1)
    harness.node.step(Message(K.APPEND, 1, 2, 1, 1, 1, entries=(entry(2, 1), entry(3, 1)), commit=1))
    said = harness.receive(K.APPEND, 3, term=2, index=1, log_term=1, entries=(entry(2, 2),), commit=1)
    assert [(m.to, m.term, m.index) for m in said if m.kind is K.APPEND_REPLY] == [(3, 2, 2)]
    assert harness.disk.last_index() == 2
