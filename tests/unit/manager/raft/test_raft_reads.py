"""Reads share a question, and none is answered by one that was asked before it began."""

import pytest

from covey.errors import UnavailableError
from manager.raft import reads as module
from manager.raft.reads import PATIENCE_TICKS, Reads


async def test_reads_that_wait_together_share_one_question() -> None:
    reads = Reads()
    first, second = reads.read(), reads.read()
    context = reads.question()
    assert context
    assert reads.question() is None
    reads.confirmed(context, 7)
    reads.applied_up_to(6)
    assert not first.done()
    reads.applied_up_to(7)
    assert (first.result(), second.result()) == (7, 7)


async def test_a_read_that_comes_later_is_not_answered_by_the_question_under_way() -> None:
    """Whatever was acknowledged between the two is not in the first answer."""
    reads = Reads()
    early = reads.read()
    context = reads.question()
    late = reads.read()
    assert reads.question() is None  # one at a time
    reads.confirmed(context, 7)
    reads.applied_up_to(100)
    assert early.done()
    assert not late.done()
    again = reads.question()
    assert again not in {None, context}
    reads.confirmed(context, 8)  # an old answer that comes again
    reads.applied_up_to(100)
    assert not late.done()
    reads.confirmed(again, 9)
    reads.applied_up_to(100)
    assert late.result() == 9


async def test_a_question_that_was_lost_is_asked_anew_after_a_while() -> None:
    reads = Reads()
    answer = reads.read()
    context = reads.question()
    for _ in range(PATIENCE_TICKS - 1):
        reads.tick()
    assert reads.question() is None
    reads.tick()
    again = reads.question()
    assert again not in {None, context}
    reads.confirmed(again, 1)
    reads.applied_up_to(1)
    assert answer.result() == 1


async def test_a_change_of_leaders_has_everything_asked_again_at_once() -> None:
    reads = Reads()
    reads.read()
    context = reads.question()
    reads.ask_again()
    assert reads.question() not in {None, context}


async def test_nobody_asks_for_readers_that_went_away() -> None:
    reads = Reads()
    reads.read().cancel()
    assert reads.question() is None


async def test_reads_are_bounded_and_fail_when_the_node_stops() -> None:
    reads = Reads()
    answers = [reads.read() for _ in range(module.MAX_READS)]
    with pytest.raises(UnavailableError, match="too many reads"):
        reads.read()
    reads.question()
    reads.close(UnavailableError("over"))
    for answer in answers:
        with pytest.raises(UnavailableError):
            answer.result()
