"""Routes of watched stacks, which the managers deploy when their repositories change.

They are Covey's own, so their paths begin with ``/covey``.
"""

from aiohttp import web

from covey.errors import NotFoundError
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.translate.watched_stack import read_watched_stack, write_watched_stack


async def list_watched(context: RequestContext) -> web.Response:
    found = await context.services.cluster.watched_stacks()
    return json_response([write_watched_stack(item.stack, item.changed, item.removed) for item in found])


async def inspect_watched(context: RequestContext) -> web.Response:
    found = await context.services.cluster.watched_stacks(context.ref)
    if not found:
        raise NotFoundError(
            f"stack {context.ref} is not watched; watch it with covey stack watch {context.ref} --git URL#ref:path"
        )
    return json_response(write_watched_stack(found[0].stack, found[0].changed, found[0].removed))


async def watch(context: RequestContext) -> web.Response:
    """Watch a stack, or watch it with another spec."""
    spec = read_watched_stack(context.ref, await context.json())
    stack = await context.services.cluster.watch_stack(spec)
    return json_response({"ID": stack.id, "Request": stack.request}, 201)


async def deploy(context: RequestContext) -> web.Response:
    """Have the stack deployed now; ``Request`` of the answer is the number that ``AnsweredRequest`` reaches."""
    stack = await context.services.cluster.deploy_watched_stack(context.ref)
    return json_response({"ID": stack.id, "Request": stack.request})


async def unwatch(context: RequestContext) -> web.Response:
    await context.services.cluster.unwatch_stack(context.ref)
    return empty_response(204)


ROUTES = [
    Route("GET", "/covey/stacks/watched", list_watched),
    Route("GET", "/covey/stacks/{ref}/watch", inspect_watched),
    Route("POST", "/covey/stacks/{ref}/watch", watch),
    Route("DELETE", "/covey/stacks/{ref}/watch", unwatch),
    Route("POST", "/covey/stacks/{ref}/watch/deploy", deploy),
]
