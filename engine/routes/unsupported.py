"""Routes of the API that are not supported yet, each with 501 and a sentence that names the feature; and the empty list of plugins."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from covey.errors import NotFoundError, UnsupportedError
from engine.request_context import RequestContext, json_response
from engine.routing import Route

_MISSING = (
    ("PUT", "/volumes/{ref}", "updating cluster volumes"),
    ("GET", "/plugins/privileges", "installing plugins"),
    ("POST", "/plugins/pull", "installing plugins"),
    ("POST", "/plugins/create", "installing plugins"),
    ("POST", "/session", "build sessions"),
    ("POST", "/grpc", "build sessions"),
)


_PLUGIN_VERBS = (
    ("GET", "/json"),
    ("POST", "/enable"),
    ("POST", "/disable"),
    ("POST", "/upgrade"),
    ("POST", "/push"),
    ("POST", "/set"),
    ("DELETE", ""),
)


async def plugins(context: RequestContext) -> web.Response:
    """The list of plugins, which is empty."""
    context.filters("capability", "enabled")
    return json_response([])


async def one_plugin(context: RequestContext) -> web.Response:
    """Every request for one plugin: there is none."""
    raise NotFoundError(f'plugin "{context.ref}" not found')


def _refuse(method: str, pattern: str, what: str) -> Callable[[RequestContext], Awaitable[web.StreamResponse]]:
    path = pattern.replace("{ref*}", "{name}").replace("{ref}", "{id}")

    async def refuse(context: RequestContext) -> web.StreamResponse:
        del context
        raise UnsupportedError(f"{what} ({method} {path}) is not supported by Covey yet")

    return refuse


ROUTES = [
    Route("GET", "/plugins", plugins),
    *(Route(method, pattern, _refuse(method, pattern, what)) for method, pattern, what in _MISSING),
    *(Route(method, f"/plugins/{{ref*}}{verb}", one_plugin) for method, verb in _PLUGIN_VERBS),
]
