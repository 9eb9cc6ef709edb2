"""Routes that compare the kernel's network state with what is wanted, of this host and of all nodes, and trace paths through it.

They are Covey's own, so their paths begin with ``/covey``.
"""

from aiohttp import web

from engine.network_trace import trace_path
from engine.request_context import RequestContext, json_response
from engine.routing import Route
from engine.translate.network_differences import differences_json, dropped_json, node_checks_json
from engine.translate.network_trace import read_question, trace_json


async def verify(context: RequestContext) -> web.Response:
    """How the network namespaces of this host differ from what is wanted, and how many packets its guard of overlay networks dropped."""
    networks = context.services.agent.networks
    found = await networks.verify()
    return json_response(
        {"Differences": differences_json(found), "DroppedPackets": dropped_json(await networks.dropped_packets())}
    )


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


async def trace(context: RequestContext) -> web.Response:
    """The path of a packet over the states of the kernels on its way. On a manager over all hosts, else over this one."""
    question = read_question(context.request.query)
    return json_response(trace_json(await trace_path(context.services, question)))


ROUTES = [
    Route("GET", "/covey/network/verify", verify),
    Route("POST", "/covey/network/repair", repair),
    Route("GET", "/covey/cluster/network/verify", verify_cluster),
    Route("POST", "/covey/cluster/network/repair", repair_cluster),
    Route("GET", "/covey/network/trace", trace),
]
