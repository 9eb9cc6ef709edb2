"""Routes for the cluster's nodes: list, inspect, update, remove."""

from aiohttp import web

from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.translate import filters
from engine.translate import node as node_json

FILTERS = ("id", "label", "membership", "name", "node.label", "role")


def _ref(context: RequestContext) -> str:
    return context.services.node.node_id if context.ref == "self" else context.ref


async def list_nodes(context: RequestContext) -> web.Response:
    cluster, active_filters = context.services.cluster, context.filters(*FILTERS)
    join_addr = context.services.node.join_addr
    return json_response(
        [node_json.write(node, join_addr) for node in await cluster.nodes() if filters.match_node(active_filters, node)]
    )


async def inspect(context: RequestContext) -> web.Response:
    return json_response(
        node_json.write(await context.services.cluster.node(_ref(context)), context.services.node.join_addr)
    )


async def update(context: RequestContext) -> web.Response:
    cluster, version = context.services.cluster, context.object_version("node")
    await cluster.update_node(_ref(context), version, node_json.read_spec(await context.json()))
    return empty_response()


async def remove(context: RequestContext) -> web.Response:
    await context.services.cluster.remove_node(_ref(context), force=context.flag("force"))
    return empty_response()


ROUTES = [
    Route("GET", "/nodes", list_nodes),
    Route("GET", "/nodes/{ref}", inspect),
    Route("DELETE", "/nodes/{ref}", remove),
    Route("POST", "/nodes/{ref}/update", update),
]
