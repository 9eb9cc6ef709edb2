"""Route ``GET /services/{ref}/history``, beyond Docker: what happened to a service and its tasks, who did it and why."""

from typing import Any

from aiohttp import web

from covey.errors import InvalidArgumentError
from covey.objects import HistoryEntry
from engine.request_context import RequestContext, json_response
from engine.routing import Route
from engine.translate.times import parse_moment, rfc3339

_KINDS = ("service", "task")


async def service_history(context: RequestContext) -> web.Response:
    since = parse_moment(context.query("since"), context.services.clock())
    tail = context.number("tail", 0) or 0
    if tail < 0:
        raise InvalidArgumentError(f"invalid tail {tail}: it must not be negative")
    entries, _ = await context.services.cluster.history(kinds=_KINDS, since_ns=since, service_ref=context.ref)
    told = [entry for entry in entries if entry.text]
    return json_response([_shown(entry) for entry in (told[-tail:] if tail else told)])


def _shown(entry: HistoryEntry) -> dict[str, Any]:
    return {
        "Time": rfc3339(entry.timestamp_ns),
        "Type": entry.kind,
        "Action": entry.action,
        "ID": entry.object_id,
        "Name": entry.name,
        "ServiceID": entry.service_id,
        "NodeID": entry.node_id,
        "Node": entry.node_name,
        "By": entry.by,
        "Text": entry.text,
    }


ROUTES = [Route("GET", "/services/{ref}/history", service_history)]
