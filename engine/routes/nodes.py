"""Routes for the cluster's nodes: list, inspect, update, remove."""

from aiohttp import web

from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.translate import filters
from engine.translate import node as node_json

FILTERS = ("id", "label", "membership", "name", "node.label", "role")


def _ref(call: RequestContext) -> str:
    return call.engine.node.node_id if call.ref == "self" else call.ref


async def list_nodes(call: RequestContext) -> web.Response:
    cluster, wanted = call.engine.cluster, call.filters(*FILTERS)
    port = call.engine.node.join_port
    return json_response(
        [node_json.write(node, port) for node in await cluster.nodes() if filters.match_node(wanted, node)]
    )


async def inspect(call: RequestContext) -> web.Response:
    return json_response(node_json.write(await call.engine.cluster.node(_ref(call)), call.engine.node.join_port))


async def update(call: RequestContext) -> web.Response:
    cluster, version = call.engine.cluster, call.object_version("node")
    await cluster.update_node(_ref(call), version, node_json.read_spec(await call.json()))
    return empty_response()


async def remove(call: RequestContext) -> web.Response:
    await call.engine.cluster.remove_node(_ref(call), force=call.flag("force"))
    return empty_response()


ROUTES = [
    Route("GET", "/nodes", list_nodes),
    Route("GET", "/nodes/{ref}", inspect),
    Route("DELETE", "/nodes/{ref}", remove),
    Route("POST", "/nodes/{ref}/update", update),
]
