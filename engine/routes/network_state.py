"""Routes that compare the kernel's network state with what is wanted, of this host and of all nodes.

They are Covey's own, so their paths begin with ``/covey``.
"""

from aiohttp import web

from engine.request_context import RequestContext, json_response
from engine.routing import Route
from engine.translate.network_differences import differences_json, node_checks_json


async def verify(context: RequestContext) -> web.Response:
    """How the network namespaces of this host differ from what is wanted."""
    found = await context.services.agent.networks.verify()
    return json_response({"Differences": differences_json(found)})


async def repair(context: RequestContext) -> web.Response:
    """Carry the differences out. Answers with those that were found, and with those that are left."""
    networks = context.services.agent.networks
    found = await networks.repair()
    return json_response(
        {"Differences": differences_json(found), "Remaining": differences_json(await networks.verify())}
    )


async def verify_cluster(context: RequestContext) -> web.Response:
    """How the network namespaces of every node differ from what is wanted. Nodes that do not answer are listed with the reason."""
    return json_response({"Nodes": node_checks_json(await context.services.cluster.check_networks(repair=False))})


async def repair_cluster(context: RequestContext) -> web.Response:
    """Make every node carry its differences out."""
    return json_response({"Nodes": node_checks_json(await context.services.cluster.check_networks(repair=True))})


ROUTES = [
    Route("GET", "/covey/network/verify", verify),
    Route("POST", "/covey/network/repair", repair),
    Route("GET", "/covey/cluster/network/verify", verify_cluster),
    Route("POST", "/covey/cluster/network/repair", repair_cluster),
]
