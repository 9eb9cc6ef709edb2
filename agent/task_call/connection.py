"""Connection of one call of a task to the manager that relays it: parts in both directions.

Invariant: one part is written at a time and gRPC makes the writer wait for the reader, so a slow reader slows the source down and nothing
is buffered. A peer that goes without a word is noticed by the channel's keepalive.
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from grpc import aio

from agent.task_call.model import PART_BYTES, TaskRequest
from covey.errors import CoveyError, InvalidArgumentError, UnavailableError
from covey.grpc_errors import error_kind
from coveypb.v1 import dispatcher_pb2


class TaskCallConnection:
    """The node's end of a call."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._is_closed = False

    async def begin(self, call_id: str) -> TaskRequest:
        """Names the call, and returns what it asks for."""
        await self._call.write(dispatcher_pb2.TaskCallPart(call_id=call_id))
        first = await self.read()
        if first is None:
            raise UnavailableError("the caller has gone")
        try:
            asked: TaskRequest = msgspec.json.decode(first.request, type=TaskRequest)
        except msgspec.DecodeError as error:
            raise InvalidArgumentError(f"this node does not know what the call asks for: {error}") from None
        return asked

    async def read(self) -> dispatcher_pb2.TaskCallPart | None:
        """The next part of the caller; None once the caller has gone."""
        part = await self._call.read()
        return None if part is aio.EOF else part

    async def input(self) -> AsyncIterator[bytes]:
        """The data of the caller up to its end. UnavailableError if the caller goes before."""
        while (part := await self.read()) is not None:
            if part.data:
                yield part.data
            if part.end:
                return
        raise UnavailableError("the caller has gone before the end of its data")

    async def result(self, value: Any = None) -> None:
        """Sends the answer."""
        await self._call.write(dispatcher_pb2.TaskCallPart(result=msgspec.json.encode(value)))

    async def data(self, data: bytes, stream: int = 0) -> None:
        """Sends data, in as many parts as it needs."""
        for start in range(0, len(data), PART_BYTES):
            await self._call.write(dispatcher_pb2.TaskCallPart(data=data[start : start + PART_BYTES], stream=stream))

    async def end(self) -> None:
        """Says that no more data follows."""
        await self._call.write(dispatcher_pb2.TaskCallPart(end=True))

    async def fail(self, error: CoveyError) -> None:
        """Sends why the call failed."""
        await self._call.write(dispatcher_pb2.TaskCallPart(error_kind=error_kind(error), error=error.message))

    async def close(self) -> None:
        """Ends the call regularly, and waits until the manager has taken everything."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._call.write(dispatcher_pb2.TaskCallPart(done=True))
        await self._call.done_writing()
        await self._call.code()
