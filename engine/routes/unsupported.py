"""Routes of the API that are not supported yet. Each answers 501 with a sentence that names the feature."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from covey.errors import UnsupportedError
from engine.request_context import RequestContext, json_response
from engine.routing import Route

_MISSING = (
    ("POST", "/containers/{ref}/update", "changing a container's limits"),
    ("GET", "/containers/{ref}/changes", "listing a container's changed files"),
    ("GET", "/containers/{ref}/export", "exporting a container's files"),
    ("GET", "/containers/{ref}/attach/ws", "attaching over a WebSocket"),
    ("HEAD", "/containers/{ref}/archive", "copying files from a container"),
    ("GET", "/containers/{ref}/archive", "copying files from a container"),
    ("PUT", "/containers/{ref}/archive", "copying files into a container"),
    ("POST", "/build", "building images"),
    ("POST", "/build/prune", "pruning the build cache"),
    ("POST", "/build/cancel", "cancelling a build"),
    ("POST", "/commit", "making an image of a container"),
    ("PUT", "/volumes/{ref}", "updating cluster volumes"),
    ("POST", "/networks/{ref}/connect", "connecting a container to a network"),
    ("POST", "/networks/{ref}/disconnect", "disconnecting a container from a network"),
    ("GET", "/plugins/privileges", "plugins"),
    ("POST", "/plugins/pull", "plugins"),
    ("POST", "/plugins/create", "plugins"),
    ("GET", "/plugins/{ref*}/json", "plugins"),
    ("POST", "/plugins/{ref*}/enable", "plugins"),
    ("POST", "/plugins/{ref*}/disable", "plugins"),
    ("POST", "/plugins/{ref*}/upgrade", "plugins"),
    ("POST", "/plugins/{ref*}/push", "plugins"),
    ("POST", "/plugins/{ref*}/set", "plugins"),
    ("DELETE", "/plugins/{ref*}", "plugins"),
    ("POST", "/session", "build sessions"),
    ("POST", "/grpc", "build sessions"),
)


async def plugins(context: RequestContext) -> web.Response:
    """The list of plugins, which is empty."""
    context.filters("capability", "enabled")
    return json_response([])


def _refuse(method: str, pattern: str, what: str) -> Callable[[RequestContext], Awaitable[web.StreamResponse]]:
    path = pattern.replace("{ref*}", "{name}").replace("{ref}", "{id}")

    async def refuse(context: RequestContext) -> web.StreamResponse:
        del context
        raise UnsupportedError(f"{what} ({method} {path}) is not supported by Covey yet")

    return refuse


ROUTES = [
    Route("GET", "/plugins", plugins),
    *(Route(method, pattern, _refuse(method, pattern, what)) for method, pattern, what in _MISSING),
]
