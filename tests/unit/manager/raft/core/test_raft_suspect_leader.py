"""Broken connection to the leader: an early election if the leader is gone, no disturbance if it is alive."""

from __future__ import annotations

from manager.raft.core import MessageKind, Role
from tests.support.raft_harness import NodeHarness

K = MessageKind


def following() -> NodeHarness:
    harness = NodeHarness(term=2)
    harness.receive(K.HEARTBEAT, 2, term=2)
    assert harness.state.leader == 2
    return harness


def test_a_follower_whose_leaders_connection_broke_campaigns_within_half_an_election_timeout() -> None:
    harness = following()
    harness.node.suspect_leader(2)
    harness.tick(5)
    assert harness.state.role is Role.PRE_CANDIDATE


def test_a_leader_that_is_heard_again_gets_the_whole_timeout() -> None:
    harness = following()
    harness.node.suspect_leader(2)
    harness.receive(K.HEARTBEAT, 2, term=2)
    harness.tick(9)
    assert harness.state.role is Role.FOLLOWER
    assert not harness.state.leader_suspected


def test_a_pre_vote_is_ignored_while_the_leader_is_heard_and_granted_when_it_is_suspected() -> None:
    sure, doubting = following(), following()
    doubting.node.suspect_leader(2)
    asked = {"term": 3, "index": 1, "log_term": 1}
    assert sure.receive(K.PRE_VOTE, 3, **asked) == []
    (reply,) = doubting.receive(K.PRE_VOTE, 3, **asked)
    assert not reply.reject


def test_a_broken_connection_of_another_peer_has_no_effect() -> None:
    harness = following()
    harness.node.suspect_leader(3)
    assert not harness.state.leader_suspected
    harness.tick(9)
    assert harness.state.role is Role.FOLLOWER


def test_without_pre_vote_a_broken_connection_ends_no_term() -> None:
    harness = NodeHarness(term=2, pre_vote=False)
    harness.receive(K.HEARTBEAT, 2, term=2)
    harness.node.suspect_leader(2)
    harness.tick(9)
    assert harness.state.role is Role.FOLLOWER
