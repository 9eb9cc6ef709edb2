"""Waiters get the answer to their own entry, or learn that nobody knows."""

import pytest

from covey.errors import UnavailableError
from manager.raft import waiting as module
from manager.raft.waiting import Waiting
from manager.store import NotLeaderError


async def proposed(waiting: Waiting, index: int, term: int):
    answer = waiting.propose(b"x")
    waiting.take_proposals()
    waiting.expect(index, term, answer)
    return answer


async def test_a_proposal_is_answered_when_its_very_entry_is_applied() -> None:
    waiting = Waiting()
    mine, replaced = await proposed(waiting, 5, 2), await proposed(waiting, 6, 2)
    waiting.applied(4, 2)
    assert not mine.done()
    waiting.applied(5, 2)
    waiting.applied(6, 3)
    assert mine.result() == 5
    with pytest.raises(NotLeaderError):
        replaced.result()


async def test_a_read_is_answered_once_its_index_is_applied() -> None:
    waiting = Waiting()
    read = waiting.read(b"c")
    waiting.applied_up_to(100)
    assert not read.done()
    waiting.confirmed(b"c", 101)
    waiting.confirmed(b"somebody else's", 1)
    waiting.applied_up_to(100)
    assert not read.done()
    waiting.applied_up_to(101)
    assert read.result() == 101


async def test_lost_leadership_fails_what_was_proposed_in_its_terms_alone() -> None:
    waiting = Waiting()
    old, new = await proposed(waiting, 5, 2), await proposed(waiting, 6, 3)
    waiting.lose("", before_term=3)
    assert old.done()
    assert not new.done()
    waiting.lose("leader:1")
    with pytest.raises(NotLeaderError, match="leader:1"):
        new.result()
    with pytest.raises(NotLeaderError):
        old.result()


async def test_a_proposal_whose_caller_went_away_is_not_made() -> None:
    waiting = Waiting()
    waiting.propose(b"gone").cancel()
    kept = waiting.propose(b"kept")
    assert waiting.take_proposals() == [(b"kept", kept)]


async def test_waiting_is_bounded_in_number_and_bytes() -> None:
    waiting = Waiting()
    for _ in range(module.MAX_WAITING):
        waiting.propose(b"")
    with pytest.raises(UnavailableError, match="too many writes"):
        waiting.propose(b"")
    waiting = Waiting()
    waiting.propose(bytes(module.MAX_WAITING_BYTES))
    with pytest.raises(UnavailableError):
        waiting.propose(b"x")


async def test_closing_fails_everything() -> None:
    waiting = Waiting()
    answers = [await proposed(waiting, 5, 2), waiting.propose(b"queued"), waiting.read(b"c"), waiting.read(b"d")]
    waiting.confirmed(b"d", 9)
    waiting.close()
    for answer in answers:
        with pytest.raises(UnavailableError):
            answer.result()
