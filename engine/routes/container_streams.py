"""Routes for container logs, attach, wait, stats, top and resize."""

import asyncio
from contextlib import aclosing

from aiohttp import web

from covey.errors import ConflictError, InvalidArgumentError
from engine import attach_relay, detach_keys
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.streams import RAW, STDERR, STDOUT, chunked_response, content_type, frame, hijack, write_json_line
from engine.translate import logs, stats

STATS_PERIOD_SECONDS = 1.0
WAIT_CONDITIONS = ("not-running", "next-exit", "removed")


async def container_logs(call: RequestContext) -> web.StreamResponse:
    containers = call.engine.agent.containers
    options = logs.read_log_query(call.request.query, call.engine.clock())
    container = containers.get(call.ref)
    tty = container.config.tty
    entries = containers.logs(
        container.id,
        follow=options.follow,
        tail=options.tail,
        since_ns=options.since_ns,
        until_ns=options.until_ns,
        stdout=options.stdout,
        stderr=options.stderr,
    )
    async with (
        chunked_response(call, content_type(call.version, multiplexed=not tty)) as response,
        aclosing(entries) as lines,
    ):
        async for entry in lines:
            text = logs.log_line(entry.data, entry.time_ns if options.timestamps else None)
            await response.write(text if tty else frame(STDERR if entry.stream == "stderr" else STDOUT, text))
    return response


async def attach(call: RequestContext) -> web.StreamResponse:
    """Both ways over the connection itself. ``logs`` sends what the container wrote before, without a gap in time but maybe an overlap."""
    containers = call.engine.agent.containers
    container = containers.get(call.ref)
    if not container.state.running:
        raise ConflictError(f"container {container.id} is not running: it cannot be attached to; start it first")
    keys = detach_keys.DetachKeyMatcher(detach_keys.parse(call.query("detachKeys")))
    tty = container.config.tty
    stream = await containers.attach(container.id)
    try:
        client, response = hijack(call, content_type(call.version, multiplexed=not tty) if not tty else RAW)
    except BaseException:
        await stream.close()
        raise
    if call.flag("logs"):
        async with aclosing(containers.logs(container.id)) as entries:
            async for entry in entries:
                await client.write(
                    entry.data if tty else frame(STDERR if entry.stream == "stderr" else STDOUT, entry.data)
                )
    if not call.flag("stream"):
        await stream.close()
        client.close()
        return response
    await attach_relay.relay(
        client,
        stream,
        tty=tty,
        keys=keys,
        stdin=call.flag("stdin") and container.config.open_stdin,
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
    )
    return response


async def wait(call: RequestContext) -> web.StreamResponse:
    """The head goes out at once: clients wait for it before they start the container."""
    condition = call.query("condition") or "not-running"
    if condition not in WAIT_CONDITIONS:
        raise InvalidArgumentError(f"invalid condition: {condition!r}; use one of {', '.join(WAIT_CONDITIONS)}")
    containers = call.engine.agent.containers
    container = containers.get(call.ref)
    async with chunked_response(call, "application/json") as response:
        await write_json_line(response, {"StatusCode": await containers.wait(container.id, condition)})
    return response


async def read_stats(call: RequestContext) -> web.StreamResponse:
    containers = call.engine.agent.containers
    container = containers.get(call.ref)
    streaming = call.flag("stream", default=True)
    before, memory = None, call.engine.host.memory_bytes
    if not streaming and not call.flag("one-shot"):
        before = await containers.stats(container.id)
        await asyncio.sleep(STATS_PERIOD_SECONDS)
    if not streaming:
        return json_response(stats.write(container, await containers.stats(container.id), before, memory))
    async with chunked_response(call, "application/json") as response:
        while containers.get(container.id).state.running:
            now = await containers.stats(container.id)
            await write_json_line(response, stats.write(container, now, before, memory))
            before = now
            await asyncio.sleep(STATS_PERIOD_SECONDS)
    return response


async def top(call: RequestContext) -> web.Response:
    return json_response(stats.top(await call.engine.agent.containers.top(call.ref)))


async def resize(call: RequestContext) -> web.Response:
    height, width = call.number("h", 0) or 0, call.number("w", 0) or 0
    await call.engine.agent.containers.resize(call.ref, height, width)
    return empty_response()


ROUTES = [
    Route("GET", "/containers/{ref}/logs", container_logs),
    Route("POST", "/containers/{ref}/attach", attach),
    Route("POST", "/containers/{ref}/wait", wait),
    Route("GET", "/containers/{ref}/stats", read_stats),
    Route("GET", "/containers/{ref}/top", top),
    Route("POST", "/containers/{ref}/resize", resize),
]
