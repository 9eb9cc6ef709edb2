"""Route ``GET /events``: this host's events, and on a manager the cluster's events too."""

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from covey.clock import SECOND
from covey.errors import CoveyError, InvalidArgumentError, LaggedError, UnavailableError
from covey.task_group import TaskGroup
from engine.request_context import RequestContext
from engine.routing import Route
from engine.streams import chunked_response, write_json_line
from engine.translate import event
from engine.translate.filters import Filters
from engine.translate.times import parse_moment

WATCH_PAUSE_SECONDS = 0.5
HISTORY_SECONDS = 5.0
NEVER_NS = (1 << 63) - 1


async def events(context: RequestContext) -> web.StreamResponse:
    now = context.services.clock()
    active_filters = context.filters(*event.FILTERS)
    since, until = parse_moment(context.query("since"), now), parse_moment(context.query("until"), now)
    if until and until < since:
        raise InvalidArgumentError(
            f"`since` time ({context.query('since')}) cannot be after `until` time ({context.query('until')})"
        )
    kinds = event.CLUSTER_KINDS.intersection(active_filters.get("type", ()))
    async with (
        context.services.events.subscribe(since if since or until else None) as (history, queue),
        chunked_response(context, "application/json") as response,
    ):
        cluster, end = await _cluster_history(context, since, kinds) if since or until else ([], None)
        for item in sorted([*history, *cluster], key=lambda item: int(item["timeNano"])):
            if not until or item["timeNano"] <= until:
                await _send(response, active_filters, item)
        if until and until <= now:
            return response
        try:
            async with asyncio.timeout((until - now) / SECOND if until else None):
                await _follow(context, response, active_filters, queue, _Place(kinds, end))
        except TimeoutError:
            pass
    return response


class _Place(msgspec.Struct):
    """Where a client is in the cluster's history; ``end`` is None before the managers have told."""

    kinds: frozenset[str]
    end: tuple[int, int] | None


async def _cluster_history(
    context: RequestContext, since_ns: int, kinds: frozenset[str]
) -> tuple[list[dict[str, Any]], tuple[int, int] | None]:
    """The cluster's events since a time, and the place after them; none while the managers do not answer."""
    if not context.services.control_available:
        return [], None
    try:
        async with asyncio.timeout(HISTORY_SECONDS):
            entries, end = await context.services.cluster.history(kinds=kinds, since_ns=since_ns)
    except (CoveyError, TimeoutError):
        return [], None
    return [event.from_history(entry) for entry in entries], end


async def _follow(
    context: RequestContext,
    response: web.StreamResponse,
    active_filters: Filters,
    queue: "asyncio.Queue[dict[str, Any] | None]",
    place: _Place,
) -> None:
    """Send events of this host and the cluster to the client, through one bounded queue, until cancelled."""
    async with TaskGroup() as group:
        if context.services.control_available:
            group.create_task(_watch_cluster(context, queue, place))
        while (item := await queue.get()) is not None:
            await _send(response, active_filters, item)
        raise LaggedError("events arrived faster than this client read them; reconnect with since=")


async def _watch_cluster(context: RequestContext, queue: "asyncio.Queue[dict[str, Any] | None]", place: _Place) -> None:
    """Put cluster events into the queue. After a change of leader it goes on after the last event that it has."""
    cluster = context.services.cluster
    while True:
        try:
            if place.end is None:
                _, place.end = await cluster.history(since_ns=NEVER_NS)
            async for entry in cluster.watch_history(place.end, place.kinds):
                place.end = entry.position
                await queue.put(event.from_history(entry))
        except (UnavailableError, LaggedError):
            pass
        except CoveyError:
            return
        await asyncio.sleep(WATCH_PAUSE_SECONDS)


async def _send(response: web.StreamResponse, active_filters: Filters, item: dict[str, Any]) -> None:
    if event.matches(active_filters, item):
        await write_json_line(response, item)


ROUTES = [Route("GET", "/events", events)]
