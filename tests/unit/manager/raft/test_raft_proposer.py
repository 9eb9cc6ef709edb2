"""Proposer: queued writes and membership changes enter the log in order, or fail with what to do next."""

import pytest

from covey.errors import ConflictError, UnavailableError
from manager.raft.core import ChangeKind, ConfChange, ConfChangeRefused, MessageKind
from manager.raft.proposer import Proposer
from manager.store.consensus import NotLeaderError
from tests.support.raft_harness import NodeHarness

ADD = ConfChange.of(ChangeKind.ADD_LEARNER, 9)


def proposer() -> Proposer:
    return Proposer(1, lambda raft_id: f"host{raft_id}:1" if raft_id else "")


def accept() -> None: ...


async def test_each_write_gets_the_index_of_its_own_entry() -> None:
    harness, writes = NodeHarness().lead(), proposer()
    last = harness.node.status().last_index
    first, second = writes.pending.propose(b"a"), writes.pending.propose(b"b")
    writes.flush(harness.node)
    term = harness.node.status().term
    writes.pending.entry_applied(last + 2, term)
    assert await second == last + 2
    assert not first.done()
    writes.pending.entry_applied(last + 1, term)
    assert await first == last + 1


async def test_a_follower_names_its_leader_for_writes_and_changes() -> None:
    harness, writes = NodeHarness(), proposer()
    harness.receive(MessageKind.HEARTBEAT, 2)
    write, change = writes.pending.propose(b"a"), writes.change_members(ADD, accept)
    writes.flush(harness.node)
    for future in (write, change):
        with pytest.raises(NotLeaderError) as error:
            await future
        assert error.value.leader_addr == "host2:1"


async def test_a_leader_that_hands_over_asks_for_another_attempt() -> None:
    harness, writes = NodeHarness().leader_with_followers(), proposer()
    harness.node.transfer_leader(2)
    write = writes.pending.propose(b"a")
    writes.flush(harness.node)
    with pytest.raises(UnavailableError, match="accepts no writes now: leadership is being transferred"):
        await write


async def test_the_check_of_a_change_runs_when_it_is_proposed_and_may_refuse_it() -> None:
    """Two removals at once: the second is judged when the first is in the log already."""
    harness, writes = NodeHarness().leader_with_followers(), proposer()
    order = []

    def refuse() -> None:
        order.append(harness.node.status().last_index)
        raise ConflictError("too few")

    last = harness.node.status().last_index
    accepted = writes.change_members(ADD, lambda: order.append(harness.node.status().last_index))
    refused = writes.change_members(ADD, refuse)
    assert order == []
    writes.flush(harness.node)
    assert order == [last, last + 1]
    with pytest.raises(ConflictError, match="too few"):
        await refused
    assert not accepted.done()


async def test_a_second_change_is_refused_while_one_is_in_the_log() -> None:
    harness, writes = NodeHarness().leader_with_followers(), proposer()
    writes.change_members(ADD, accept)
    second = writes.change_members(ADD, accept)
    writes.flush(harness.node)
    with pytest.raises(ConfChangeRefused, match="another membership change"):
        await second


async def test_closing_fails_what_is_queued() -> None:
    writes = proposer()
    write, change = writes.pending.propose(b"a"), writes.change_members(ADD, accept)
    writes.close()
    with pytest.raises(UnavailableError, match="shutting down"):
        await write
    with pytest.raises(NotLeaderError):
        await change
