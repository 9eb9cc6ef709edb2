"""A log request that goes on with the next leader."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from covey.errors import NotFoundError, UnavailableError
from covey.log_cursors import LogCursors
from coveypb.v1 import control_pb2, dispatcher_pb2
from engine.log_stream import read_logs, resumed


def request(*, follow: bool = True, tail: int = -1) -> control_pb2.LogsRequest:
    options = dispatcher_pb2.LogOptions(stdout=True, follow=follow, tail=tail)
    return control_pb2.LogsRequest(service_refs=["web"], options=options)


def batch(*times_ns: int) -> dispatcher_pb2.LogBatch:
    lines = [dispatcher_pb2.LogLine(task_id="t", timestamp_ns=time_ns, stream=1) for time_ns in times_ns]
    return dispatcher_pb2.LogBatch(lines=lines)


class Leaders:
    """Each call of the log is answered by the next of these leaders: batches, then an error or the end."""

    def __init__(self, *answers: tuple[list[dispatcher_pb2.LogBatch], Exception | None]) -> None:
        self.answers = list(answers)
        self.asked: list[control_pb2.LogsRequest] = []

    async def stream(self, _method: str, request: control_pb2.LogsRequest) -> AsyncIterator[dispatcher_pb2.LogBatch]:
        self.asked.append(request)
        batches, error = self.answers.pop(0)
        for each in batches:
            yield each
        if error is not None:
            raise error


async def lines_of(leaders: Leaders, wanted: control_pb2.LogsRequest) -> list[int]:
    async with asyncio.timeout(10):
        return [line.timestamp_ns async for line in read_logs(leaders.stream, wanted)]


async def test_the_next_leader_is_asked_for_what_follows_the_last_line() -> None:
    leaders = Leaders(
        ([batch(1, 2), batch(2)], UnavailableError("gone")), ([], UnavailableError("no leader")), ([batch(3)], None)
    )
    assert await lines_of(leaders, request()) == [1, 2, 2, 3]
    for asked in leaders.asked[1:]:
        [cursor] = asked.options.cursors
        assert (cursor.task_id, cursor.time_ns, cursor.lines) == ("t", 2, 2)


async def test_a_request_that_was_never_accepted_fails_at_once() -> None:
    with pytest.raises(UnavailableError, match="too many"):
        await lines_of(Leaders(([], UnavailableError("too many readers"))), request())


async def test_an_error_that_another_leader_would_repeat_ends_the_stream() -> None:
    with pytest.raises(NotFoundError):
        await lines_of(Leaders(([batch(1)], NotFoundError("no such service"))), request())


def test_a_task_without_lines_so_far_is_read_from_the_start_of_a_bounded_request() -> None:
    cursors = LogCursors()
    cursors.advance(batch(7).lines[0])
    rest = resumed(request(tail=-1), cursors, 5)
    assert (rest.options.tail, rest.options.since_ns) == (-1, 0), "all of its lines are wanted anyway"
    rest = resumed(request(tail=10), cursors, 5)
    assert (rest.options.tail, rest.options.since_ns) == (-1, 5)
    assert resumed(request(follow=False, tail=10), cursors, 5).options.tail == 10
