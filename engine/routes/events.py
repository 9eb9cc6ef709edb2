"""Route ``GET /events``: this host's events, and on a manager the cluster's events too."""

import asyncio
from typing import Any

from aiohttp import web

from covey.clock import SECOND
from covey.errors import CoveyError, InvalidArgumentError, LaggedError, UnavailableError
from covey.objects import Node, WatchedStack
from engine.request_context import RequestContext
from engine.routing import Route
from engine.streams import chunked_response, write_json_line
from engine.translate import event
from engine.translate.filters import Filters
from engine.translate.times import parse_moment

WATCH_PAUSE_SECONDS = 0.5
QUEUE = 1024


async def events(context: RequestContext) -> web.StreamResponse:
    now = context.services.clock()
    active_filters = context.filters(*event.FILTERS)
    since, until = parse_moment(context.query("since"), now), parse_moment(context.query("until"), now)
    if until and until < since:
        raise InvalidArgumentError(
            f"`since` time ({context.query('since')}) cannot be after `until` time ({context.query('until')})"
        )
    async with (
        context.services.events.subscribe(since if since or until else None) as (history, queue),
        chunked_response(context, "application/json") as response,
    ):
        for item in history:
            if not until or item["timeNano"] <= until:
                await _send(response, active_filters, item)
        if until and until <= now:
            return response
        try:
            async with asyncio.timeout((until - now) / SECOND if until else None):
                await _follow(context, response, active_filters, queue)
        except TimeoutError:
            pass
    return response


async def _follow(
    context: RequestContext,
    response: web.StreamResponse,
    active_filters: Filters,
    queue: "asyncio.Queue[dict[str, Any] | None]",
) -> None:
    """Send events of this host and the cluster to the client, through one bounded queue, until cancelled."""
    async with asyncio.TaskGroup() as group:
        if context.services.control_available:
            group.create_task(_watch_cluster(context, queue))
        while (item := await queue.get()) is not None:
            await _send(response, active_filters, item)
        raise LaggedError("events arrived faster than this client read them; reconnect with since=")


async def _watch_cluster(context: RequestContext, queue: "asyncio.Queue[dict[str, Any] | None]") -> None:
    """Put cluster events into the queue. After a change of leader the watch starts again."""
    while True:
        try:
            known: dict[str, Node | WatchedStack] = {node.id: node for node in await context.services.cluster.nodes()}
            known |= {item.stack.id: item.stack for item in await context.services.cluster.watched_stacks()}
            async for change in context.services.cluster.watch():
                previous = known.get(change.item.id)
                if isinstance(change.item, Node | WatchedStack):
                    known[change.item.id] = change.item
                message = event.from_cluster(
                    change.action, change.item, change.time_ns or context.services.clock(), previous
                )
                if message is not None:
                    await queue.put(message)
        except (UnavailableError, LaggedError):
            pass
        except CoveyError:
            return
        await asyncio.sleep(WATCH_PAUSE_SECONDS)


async def _send(response: web.StreamResponse, active_filters: Filters, item: dict[str, Any]) -> None:
    if event.matches(active_filters, item):
        await write_json_line(response, item)


ROUTES = [Route("GET", "/events", events)]
