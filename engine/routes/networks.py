"""Routes for networks: the predefined ones of every host, and the cluster's overlay networks.

On a worker ``docker network ls`` shows only the predefined ones, because workers do not know the cluster's networks.
"""

from typing import Any

from aiohttp import web

from covey.errors import NotFoundError, PermissionDeniedError, UnsupportedError
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.translate import filters
from engine.translate import network as network_json
from engine.translate.filters import Filters
from engine.translate.times import parse_moment

TYPES = ("builtin", "custom")
FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")


async def list_networks(context: RequestContext) -> web.Response:
    active_filters = context.filters(*FILTERS)
    for kind in active_filters.get("type", ()):
        if kind not in TYPES:
            raise filters.invalid_filter("type", (kind,), f"use one of {', '.join(TYPES)}")
    found = [network_json.write_predefined(name, context.services.node.engine_id) for name in network_json.PREDEFINED]
    if context.services.control_available:
        found += [network_json.write(network) for network in await context.services.cluster.networks()]
    return json_response([item for item in found if _matches(active_filters, item)])


async def inspect(context: RequestContext) -> web.Response:
    local = _predefined(context)
    if local is not None and context.query("scope") in ("", "local"):
        return json_response(local)
    if local is not None and context.query("scope") == "swarm":  # clients ask this before they attach a service
        raise UnsupportedError(
            f"services on the predefined network {local['Name']} are not supported by Covey yet; create an overlay network"
        )
    if not context.services.control_available or context.query("scope") == "local":
        raise NotFoundError(f"network {context.ref} not found")
    return json_response(network_json.write(await context.services.cluster.network(context.ref)))


async def create(context: RequestContext) -> web.Response:
    body = await context.json()
    spec = network_json.read_spec(body)
    network = await context.services.cluster.create_network(spec)
    return json_response({"Id": network.id, "Warning": ""}, 201)


async def remove(context: RequestContext) -> web.Response:
    local = _predefined(context)
    if local is not None:
        raise PermissionDeniedError(f"{local['Name']} is a pre-defined network and cannot be removed")
    if not context.services.control_available:
        raise NotFoundError(f"network {context.ref} not found")
    await context.services.cluster.remove_network(context.ref)
    return empty_response(204)


async def prune(context: RequestContext) -> web.Response:
    """Prune nothing: as in Docker, cluster networks are not pruned, and local ones cannot be created yet."""
    for moment in context.filters("label", "label!", "until").get("until", ()):
        parse_moment(moment, context.services.clock())
    return json_response({"NetworksDeleted": None})


def _predefined(context: RequestContext) -> dict[str, Any] | None:
    for name in network_json.PREDEFINED:
        local = network_json.write_predefined(name, context.services.node.engine_id)
        if context.ref == name or (len(context.ref) >= 12 and local["Id"].startswith(context.ref)):
            return local
    return None


def _matches(active_filters: Filters, item: dict[str, Any]) -> bool:
    kind = "builtin" if item["Name"] in network_json.PREDEFINED else "custom"
    names = active_filters.get("name")
    return (
        (not names or any(name in item["Name"] for name in names))
        and filters.match_prefix(active_filters.get("id"), item["Id"])
        and filters.match_labels(active_filters.get("label", ()), item["Labels"])
        and all(
            item[field] in active_filters[name]
            for name, field in (("driver", "Driver"), ("scope", "Scope"))
            if name in active_filters
        )
        and kind in active_filters.get("type", (kind,))
        and not filters.filter_flag(active_filters, "dangling")
    )


ROUTES = [
    Route("GET", "/networks", list_networks),
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune),
    Route("GET", "/networks/{ref}", inspect),
    Route("DELETE", "/networks/{ref}", remove),
]
