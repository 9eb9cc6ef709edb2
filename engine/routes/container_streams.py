"""Routes for container logs, attach, wait, stats, top and resize."""

import asyncio
import contextlib
import re
from contextlib import aclosing

from aiohttp import web

from agent.container.api import Stream
from agent.container.model import Container, RunStatus
from covey import detach_keys
from covey.errors import ConflictError, InvalidArgumentError, NotFoundError
from engine import attach_relay, websocket_connection
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.streams import RAW, chunked_response, content_type, hijack, write_json_line
from engine.translate import logs, stats

STATS_PERIOD_SECONDS = 1.0
MAX_TERMINAL_SIZE = 0xFFFF
WAIT_CONDITIONS = ("not-running", "next-exit", "removed")


async def container_logs(context: RequestContext) -> web.StreamResponse:
    containers = context.services.agent.containers
    options = logs.read_log_query(context.request.query, context.services.clock())
    container = containers.get(context.ref)
    kind = content_type(context.version, multiplexed=not container.config.tty)
    blocks = containers.log_stream(
        container.id,
        follow=options.follow,
        tail=options.tail,
        since_ns=options.since_ns,
        until_ns=options.until_ns,
        stdout=options.stdout,
        stderr=options.stderr,
        timestamps=options.timestamps,
        details=options.details,
    )
    async with chunked_response(context, kind) as response, aclosing(blocks) as encoded:
        async for data in encoded:
            await response.write(data)
    return response


async def attach(context: RequestContext) -> web.StreamResponse:
    """Take over the connection for stdio, also of a container that is still to be started.

    With ``logs`` the earlier output comes first, without a gap but possibly with an overlap.
    """
    container, keys = _attachable(context)
    stream = await context.services.agent.containers.attach(container.id)
    tty = container.config.tty
    try:
        client, response = hijack(context, RAW if tty else content_type(context.version, multiplexed=True))
    except BaseException:
        await stream.close()
        raise
    await _serve(context, container, client, stream, keys, framed=True)
    return response


async def attach_websocket(context: RequestContext) -> web.StreamResponse:
    """As ``attach``, over a WebSocket that carries raw bytes."""
    container, keys = _attachable(context)
    client, response = await websocket_connection.accept(context)
    stream = await context.services.agent.containers.attach(container.id)
    await _serve(context, container, client, stream, keys, framed=False)
    await response.close()
    return response


def _attachable(context: RequestContext) -> tuple[Container, detach_keys.DetachKeyMatcher]:
    """The container and the detach keys of a request. ConflictError if the container is in no state for it."""
    container = context.services.agent.containers.get(context.ref)
    text = context.query("detachKeys")
    try:
        keys = detach_keys.DetachKeyMatcher(detach_keys.parse(text))
    except InvalidArgumentError:
        raise InvalidArgumentError(f"Invalid detach keys ({text}) provided") from None
    if container.state.status is RunStatus.PAUSED:
        raise ConflictError(f"container {context.ref} is paused, unpause the container before attach")
    if container.state.status is RunStatus.RESTARTING:
        raise ConflictError(f"container {context.ref} is restarting, wait until the container is running")
    return container, keys


async def _serve(
    context: RequestContext,
    container: Container,
    client: attach_relay.ClientConnection,
    stream: Stream,
    keys: detach_keys.DetachKeyMatcher,
    *,
    framed: bool,
) -> None:
    """Send the earlier output if asked for, and relay if asked for."""
    containers, stdout, stderr = context.services.agent.containers, context.flag("stdout"), context.flag("stderr")
    try:
        if context.flag("logs"):
            blocks = containers.log_stream(container.id, stdout=stdout, stderr=stderr, framed=framed)
            async with aclosing(blocks) as encoded:
                async for data in encoded:
                    await client.write(data)
    except BaseException as error:
        await stream.close()
        client.close()
        if isinstance(error, ConnectionError):
            return
        raise
    if not context.flag("stream"):
        await stream.close()
        client.close()
        return
    detached = await attach_relay.relay(
        client,
        stream,
        tty=container.config.tty,
        keys=keys,
        stdin=context.flag("stdin") and container.config.open_stdin,
        stdout=stdout,
        stderr=stderr,
        framed=framed,
    )
    if detached:
        containers.note_detach(container.id)


async def wait(context: RequestContext) -> web.StreamResponse:
    """Send the head of the response at once, because clients wait for it before they start the container."""
    condition = context.query("condition") or "not-running"
    if condition not in WAIT_CONDITIONS:
        raise InvalidArgumentError(f'invalid condition: "{condition}"; use one of {", ".join(WAIT_CONDITIONS)}')
    ended = context.services.agent.containers.wait(context.ref, condition)
    try:
        async with chunked_response(context, "application/json") as response:
            await write_json_line(response, {"StatusCode": await ended})
    finally:
        ended.cancel()
    return response


async def read_stats(context: RequestContext) -> web.StreamResponse:
    containers = context.services.agent.containers
    container = containers.get(context.ref)
    streaming = context.flag("stream", default=True)
    if streaming and context.flag("one-shot"):
        raise InvalidArgumentError("cannot have stream=true and one-shot=true")
    previous, memory = None, context.services.host.memory_bytes
    if not streaming and not context.flag("one-shot") and container.state.running:
        previous = await containers.stats(container.id)
        await asyncio.sleep(STATS_PERIOD_SECONDS)
    if not streaming:
        return json_response(stats.write(container, await containers.stats(container.id), previous, memory))
    async with chunked_response(context, "application/json") as response:
        with contextlib.suppress(NotFoundError):  # the stream of a container ends with its removal
            while True:
                now = await containers.stats(container.id)
                await write_json_line(response, stats.write(container, now, previous, memory))
                previous = now
                await asyncio.sleep(STATS_PERIOD_SECONDS)
    return response


def terminal_size(context: RequestContext) -> tuple[int, int]:
    """Height and width in a query. Raises InvalidArgumentError in Go's words."""
    numbers = []
    for name in ("h", "w"):
        text = context.query(name)
        if not re.fullmatch(r"[+-]?[0-9]+", text):
            raise InvalidArgumentError(f'strconv.Atoi: parsing "{text}": invalid syntax')
        if not 0 <= int(text) <= MAX_TERMINAL_SIZE:
            raise InvalidArgumentError(f'strconv.ParseUint: parsing "{text}": value out of range')
        numbers.append(int(text))
    return numbers[0], numbers[1]


async def top(context: RequestContext) -> web.Response:
    table = await context.services.agent.containers.top(context.ref, context.query("ps_args"))
    return json_response(stats.top(table))


async def resize(context: RequestContext) -> web.Response:
    height, width = terminal_size(context)
    await context.services.agent.containers.resize(context.ref, height, width)
    return empty_response()


ROUTES = [
    Route("GET", "/containers/{ref}/logs", container_logs),
    Route("POST", "/containers/{ref}/attach", attach),
    Route("GET", "/containers/{ref}/attach/ws", attach_websocket),
    Route("POST", "/containers/{ref}/wait", wait),
    Route("GET", "/containers/{ref}/stats", read_stats),
    Route("GET", "/containers/{ref}/top", top),
    Route("POST", "/containers/{ref}/resize", resize),
]
