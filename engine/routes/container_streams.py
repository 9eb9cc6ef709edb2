"""Routes for container logs, attach, wait, stats, top and resize."""

import asyncio
from contextlib import aclosing

from aiohttp import web

from covey import detach_keys
from covey.errors import InvalidArgumentError
from engine import attach_relay
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.streams import RAW, chunked_response, content_type, hijack, write_json_line
from engine.translate import logs, stats

STATS_PERIOD_SECONDS = 1.0
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
    containers = context.services.agent.containers
    container = containers.get(context.ref)
    keys = detach_keys.DetachKeyMatcher(detach_keys.parse(context.query("detachKeys")))
    tty = container.config.tty
    stream = await containers.attach(container.id)
    try:
        client, response = hijack(context, content_type(context.version, multiplexed=not tty) if not tty else RAW)
    except BaseException:
        await stream.close()
        raise
    if context.flag("logs"):
        async with aclosing(containers.log_stream(container.id)) as blocks:
            async for data in blocks:
                await client.write(data)
    if not context.flag("stream"):
        await stream.close()
        client.close()
        return response
    await attach_relay.relay(
        client,
        stream,
        tty=tty,
        keys=keys,
        stdin=context.flag("stdin") and container.config.open_stdin,
        stdout=context.flag("stdout"),
        stderr=context.flag("stderr"),
    )
    return response


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
    previous, memory = None, context.services.host.memory_bytes
    if not streaming and not context.flag("one-shot"):
        previous = await containers.stats(container.id)
        await asyncio.sleep(STATS_PERIOD_SECONDS)
    if not streaming:
        return json_response(stats.write(container, await containers.stats(container.id), previous, memory))
    async with chunked_response(context, "application/json") as response:
        while containers.get(container.id).state.running:
            now = await containers.stats(container.id)
            await write_json_line(response, stats.write(container, now, previous, memory))
            previous = now
            await asyncio.sleep(STATS_PERIOD_SECONDS)
    return response


async def top(context: RequestContext) -> web.Response:
    table = await context.services.agent.containers.top(context.ref, context.query("ps_args"))
    return json_response(stats.top(table))


async def resize(context: RequestContext) -> web.Response:
    height, width = context.required_number("h"), context.required_number("w")
    await context.services.agent.containers.resize(context.ref, height, width)
    return empty_response()


ROUTES = [
    Route("GET", "/containers/{ref}/logs", container_logs),
    Route("POST", "/containers/{ref}/attach", attach),
    Route("POST", "/containers/{ref}/wait", wait),
    Route("GET", "/containers/{ref}/stats", read_stats),
    Route("GET", "/containers/{ref}/top", top),
    Route("POST", "/containers/{ref}/resize", resize),
]
