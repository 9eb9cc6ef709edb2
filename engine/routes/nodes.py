"""The nodes of the cluster."""

from aiohttp import web

from engine.call import Call, empty, reply
from engine.routing import Route
from engine.translate import filters
from engine.translate import node as node_json

FILTERS = ("id", "label", "membership", "name", "node.label", "role")


def _ref(call: Call) -> str:
    return call.engine.node.node_id if call.ref == "self" else call.ref


async def list_nodes(call: Call) -> web.Response:
    cluster, wanted = call.engine.cluster, call.filters(*FILTERS)
    port = call.engine.node.join_port
    return reply([node_json.write(node, port) for node in await cluster.nodes() if filters.match_node(wanted, node)])


async def inspect(call: Call) -> web.Response:
    return reply(node_json.write(await call.engine.cluster.node(_ref(call)), call.engine.node.join_port))


async def update(call: Call) -> web.Response:
    cluster, version = call.engine.cluster, call.object_version("node")
    await cluster.update_node(_ref(call), version, node_json.read_spec(await call.json()))
    return empty()


async def remove(call: Call) -> web.Response:
    await call.engine.cluster.remove_node(_ref(call), force=call.flag("force"))
    return empty()


ROUTES = [
    Route("GET", "/nodes", list_nodes),
    Route("GET", "/nodes/{ref}", inspect),
    Route("DELETE", "/nodes/{ref}", remove),
    Route("POST", "/nodes/{ref}/update", update),
]
