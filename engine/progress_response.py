"""Response of long work: a stream of progress as JSON lines.

Invariant: the head is sent with the first line. An error before it is an HTTP status, an error after it the last line.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from agent.image.model import Progress
from covey.errors import CoveyError
from engine.request_context import RequestContext
from engine.streams import STREAMING, common_headers, write_json_line
from engine.translate import progress as progress_json


class ProgressResponse:
    """The response of one request."""

    def __init__(self, context: RequestContext) -> None:
        self._context = context
        self.stream = web.StreamResponse(headers={"Content-Type": "application/json", **common_headers()})

    @property
    def started(self) -> bool:
        return self.stream.prepared

    async def write(self, value: Any) -> None:
        """Write one JSON line. ConnectionError once the client has disconnected."""
        await self._start()
        await write_json_line(self.stream, value)

    async def write_all(self, steps: AsyncIterator[Progress]) -> None:
        """Write progress until it ends."""
        async for step in steps:
            await self.write(progress_json.message(step))

    async def finish(self) -> None:
        """End the response."""
        await self._start()
        await self.stream.write_eof()

    async def _start(self) -> None:
        if not self.started:
            self._context.request[STREAMING] = True
            await self.stream.prepare(self._context.request)


@asynccontextmanager
async def progress_response(
    context: RequestContext, *, errors_in_stream: bool = False
) -> AsyncIterator[ProgressResponse]:
    """The response of the block. A CoveyError in it becomes the last line, if a line was written before or with `errors_in_stream`."""
    response = ProgressResponse(context)
    try:
        yield response
    except CoveyError as error:
        if not response.started and not errors_in_stream:
            raise
        await response.write(progress_json.error(error))
    await response.finish()
