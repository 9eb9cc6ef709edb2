"""Log stream: the lines of one log request, which goes on with the next leader after the same lines when the leader changes.

Invariant: no line is lost or repeated by a change of leader, a restart of this node's manager, or a broken connection between them. If no
leader answers for ``RESUME_SECONDS``, the stream ends with that error.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from covey.clock import wall_clock
from covey.errors import DeadlineError, UnavailableError
from covey.log_cursors import LogCursors
from coveypb.v1 import control_pb2, dispatcher_pb2

SYSTEM_ERROR = 3
"""The stream number of a line that says why other lines are missing."""
RESUME_SECONDS = 30.0
_PAUSE_SECONDS = 0.1
_STEADY_SECONDS = 1.0
"""A stream that lasted longer was accepted, even if no line came."""

OpenStream = Callable[[str, Any], AsyncIterator[Any]]
"""Opens a streaming call of the control API: method and request."""


async def read_logs(open_stream: OpenStream, request: control_pb2.LogsRequest) -> AsyncIterator[Any]:
    """Log lines (``coveypb.v1.LogLine``) as they arrive. A line of stream 3 says why others are missing.

    Raises:
        UnavailableError, DeadlineError: no leader answered for ``RESUME_SECONDS``; other errors of the call.
    """
    loop = asyncio.get_running_loop()
    cursors, started_ns = LogCursors(), wall_clock()
    wanted, give_up_at = request, 0.0
    while True:
        opened_at = loop.time()
        try:
            async for batch in open_stream("Logs", wanted):
                for line in batch.lines:
                    if line.stream != SYSTEM_ERROR:
                        cursors.advance(line)
                    yield line
                if batch.error and not batch.lines:
                    yield dispatcher_pb2.LogLine(stream=SYSTEM_ERROR, data=batch.error.encode())
        except (UnavailableError, DeadlineError):
            if loop.time() - opened_at > _STEADY_SECONDS or (cursors and not give_up_at):
                give_up_at = loop.time() + RESUME_SECONDS
            if loop.time() > give_up_at:
                raise
        else:
            return
        await asyncio.sleep(_PAUSE_SECONDS)
        wanted = resumed(request, cursors, started_ns)


def resumed(request: control_pb2.LogsRequest, cursors: LogCursors, started_ns: int) -> control_pb2.LogsRequest:
    """The request for what is left of another. Tasks without lines so far had none at ``started_ns`` within the tail."""
    rest = control_pb2.LogsRequest()
    rest.CopyFrom(request)
    del rest.options.cursors[:]
    rest.options.cursors.extend(cursors.all())
    if request.options.follow and request.options.tail >= 0 and cursors:
        rest.options.tail = -1
        rest.options.since_ns = max(request.options.since_ns, started_ns)
    return rest
