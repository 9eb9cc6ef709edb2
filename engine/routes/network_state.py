"""Routes that compare the kernel's network state of this host with what is wanted. They are Covey's own, below ``/covey``."""

from aiohttp import web

from engine.request_context import RequestContext, json_response
from engine.routing import Route
from engine.translate.network_differences import differences_json


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


ROUTES = [
    Route("GET", "/covey/network/verify", verify),
    Route("POST", "/covey/network/repair", repair),
]
