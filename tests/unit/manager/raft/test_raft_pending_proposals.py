"""Pending proposals: each caller gets the result of its own entry, or learns that the outcome is unknown."""

import pytest

from covey.errors import UnavailableError
from manager.raft import pending_proposals as module
from manager.raft.pending_proposals import PendingProposals
from manager.store import NotLeaderError, OutcomeUnknownError


async def proposed(waiting: PendingProposals, index: int, term: int):
    answer = waiting.propose(b"x")
    waiting.take_queued()
    waiting.track(index, term, answer)
    return answer


async def test_a_proposal_resolves_when_its_own_entry_is_applied() -> None:
    waiting = PendingProposals()
    mine, replaced = await proposed(waiting, 5, 2), await proposed(waiting, 6, 2)
    waiting.entry_applied(4, 2)
    assert not mine.done()
    waiting.entry_applied(5, 2)
    waiting.entry_applied(6, 3)
    assert mine.result() == 5
    with pytest.raises(NotLeaderError):
        replaced.result()


async def test_a_deposed_leader_learns_the_outcomes_from_the_log_of_the_next_one() -> None:
    """1. Of three proposals, the next leader's log holds the first. 2. Its first own entry is at the index of the second."""
    waiting = PendingProposals()
    kept, replaced, beyond = [await proposed(waiting, index, 2) for index in (5, 6, 7)]
    waiting.tick(leading_term=0)
    waiting.entry_applied(5, 2)
    assert kept.result() == 5
    waiting.entry_applied(6, 3)
    for lost in (replaced, beyond):
        with pytest.raises(NotLeaderError):
            lost.result()


async def test_an_entry_of_the_own_term_rejects_nothing() -> None:
    waiting = PendingProposals()
    mine = await proposed(waiting, 7, 2)
    waiting.entry_applied(5, 2)
    waiting.entry_applied(6, 2)
    assert not mine.done()


async def test_the_outcome_is_unknown_after_three_seconds_without_the_leadership() -> None:
    waiting = PendingProposals()
    old, new = await proposed(waiting, 5, 2), await proposed(waiting, 6, 3)
    for _ in range(29):
        waiting.tick(leading_term=3)
    assert not old.done()
    waiting.tick(leading_term=3)
    with pytest.raises(OutcomeUnknownError, match="may or may not"):
        old.result()
    for _ in range(100):
        waiting.tick(leading_term=3)
    assert not new.done(), "a proposal of the present leader waits for a majority"
    for _ in range(30):
        waiting.tick(leading_term=0)
    with pytest.raises(OutcomeUnknownError):
        new.result()


async def test_a_snapshot_may_contain_a_proposal_up_to_its_index_and_none_of_an_earlier_term_beyond_it() -> None:
    waiting = PendingProposals()
    within, beyond = await proposed(waiting, 5, 2), await proposed(waiting, 6, 2)
    waiting.snapshot_restored(5, 3)
    with pytest.raises(OutcomeUnknownError):
        within.result()
    with pytest.raises(NotLeaderError):
        beyond.result()


async def test_a_snapshot_of_the_same_term_rejects_nothing_beyond_it() -> None:
    waiting = PendingProposals()
    beyond = await proposed(waiting, 6, 2)
    waiting.snapshot_restored(5, 2)
    assert not beyond.done()


async def test_queued_proposals_are_rejected_with_the_leaders_address() -> None:
    waiting = PendingProposals()
    in_the_log, queued = await proposed(waiting, 5, 2), waiting.propose(b"y")
    waiting.reject_queued("leader:1")
    assert not in_the_log.done()
    with pytest.raises(NotLeaderError, match="leader:1"):
        queued.result()


async def test_a_proposal_of_a_cancelled_caller_is_still_made() -> None:
    """The store locks the objects of a transaction until it is applied; a dropped one would lock them forever."""
    waiting = PendingProposals()
    gone = waiting.propose(b"gone")
    gone.cancel()
    kept = waiting.propose(b"kept")
    assert waiting.take_queued() == [(b"gone", gone), (b"kept", kept)]


async def test_waiting_is_bounded_in_number_and_bytes() -> None:
    waiting = PendingProposals()
    for _ in range(module.MAX_PROPOSALS):
        waiting.propose(b"")
    with pytest.raises(UnavailableError, match="too many writes"):
        waiting.propose(b"")
    waiting = PendingProposals()
    waiting.propose(bytes(module.MAX_PROPOSAL_BYTES))
    with pytest.raises(UnavailableError):
        waiting.propose(b"x")


async def test_closing_fails_everything() -> None:
    waiting = PendingProposals()
    in_the_log, queued = await proposed(waiting, 5, 2), waiting.propose(b"queued")
    waiting.close()
    with pytest.raises(OutcomeUnknownError):
        in_the_log.result()
    with pytest.raises(UnavailableError):
        queued.result()
