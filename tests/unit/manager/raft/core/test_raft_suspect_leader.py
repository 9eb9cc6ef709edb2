"""Broken connection to the leader: an early election if the leader is gone, no disturbance if it is alive."""

from __future__ import annotations

from manager.raft.core import MessageKind, Role
from tests.support.raft_harness import NodeHarness

K = MessageKind


def following() -> NodeHarness:
    bench = NodeHarness(term=2)
    bench.hear(K.HEARTBEAT, 2, term=2)
    assert bench.state.leader == 2
    return bench


def test_a_follower_whose_leaders_connection_broke_campaigns_within_half_an_election_timeout() -> None:
    bench = following()
    bench.node.suspect_leader(2)
    bench.tick(5)
    assert bench.state.role is Role.PRE_CANDIDATE


def test_a_leader_that_is_heard_again_is_believed_and_given_the_whole_timeout() -> None:
    bench = following()
    bench.node.suspect_leader(2)
    bench.hear(K.HEARTBEAT, 2, term=2)
    bench.tick(9)
    assert bench.state.role is Role.FOLLOWER
    assert not bench.state.leader_suspected


def test_a_follower_that_is_sure_of_its_leader_hears_no_pre_vote_and_one_that_doubts_grants_it() -> None:
    sure, doubting = following(), following()
    doubting.node.suspect_leader(2)
    asked = {"term": 3, "index": 1, "log_term": 1}
    assert sure.hear(K.PRE_VOTE, 3, **asked) == []
    (reply,) = doubting.hear(K.PRE_VOTE, 3, **asked)
    assert not reply.reject


def test_a_broken_connection_of_somebody_else_means_nothing() -> None:
    bench = following()
    bench.node.suspect_leader(3)
    assert not bench.state.leader_suspected
    bench.tick(9)
    assert bench.state.role is Role.FOLLOWER


def test_without_pre_vote_a_broken_connection_ends_no_term() -> None:
    bench = NodeHarness(term=2, pre_vote=False)
    bench.hear(K.HEARTBEAT, 2, term=2)
    bench.node.suspect_leader(2)
    bench.tick(9)
    assert bench.state.role is Role.FOLLOWER
