"""Pending reads: they share a request, and none is answered by a request that was sent before the read began."""

import pytest

from covey.errors import UnavailableError
from manager.raft import pending_reads as module
from manager.raft.pending_reads import RETRY_TICKS, PendingReads


async def test_waiting_reads_share_one_request() -> None:
    reads = PendingReads()
    first, second = reads.read(), reads.read()
    context = reads.next_request()
    assert context
    assert reads.next_request() is None
    reads.confirmed(context, 7)
    reads.applied_up_to(6)
    assert not first.done()
    reads.applied_up_to(7)
    assert (first.result(), second.result()) == (7, 7)


async def test_a_later_read_is_not_answered_by_the_request_in_flight() -> None:
    """The first answer does not cover what was acknowledged after its request."""
    reads = PendingReads()
    early = reads.read()
    context = reads.next_request()
    late = reads.read()
    assert reads.next_request() is None  # one at a time
    reads.confirmed(context, 7)
    reads.applied_up_to(100)
    assert early.done()
    assert not late.done()
    again = reads.next_request()
    assert again not in {None, context}
    reads.confirmed(context, 8)  # an old answer that comes again
    reads.applied_up_to(100)
    assert not late.done()
    reads.confirmed(again, 9)
    reads.applied_up_to(100)
    assert late.result() == 9


async def test_a_lost_request_is_repeated_after_some_ticks() -> None:
    reads = PendingReads()
    answer = reads.read()
    context = reads.next_request()
    for _ in range(RETRY_TICKS - 1):
        reads.tick()
    assert reads.next_request() is None
    reads.tick()
    again = reads.next_request()
    assert again not in {None, context}
    reads.confirmed(again, 1)
    reads.applied_up_to(1)
    assert answer.result() == 1


async def test_a_change_of_leaders_repeats_the_request_at_once() -> None:
    reads = PendingReads()
    reads.read()
    context = reads.next_request()
    reads.retry()
    assert reads.next_request() not in {None, context}


async def test_no_request_is_sent_for_cancelled_reads() -> None:
    reads = PendingReads()
    reads.read().cancel()
    assert reads.next_request() is None


async def test_reads_are_bounded_and_fail_when_the_node_stops() -> None:
    reads = PendingReads()
    answers = [reads.read() for _ in range(module.MAX_READS)]
    with pytest.raises(UnavailableError, match="too many reads"):
        reads.read()
    reads.next_request()
    reads.close(UnavailableError("over"))
    for answer in answers:
        with pytest.raises(UnavailableError):
            answer.result()
