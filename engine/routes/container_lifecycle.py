"""Routes that change a container's state: start, stop, restart, kill, pause, unpause, rename, remove."""

from aiohttp import web

from agent.container.model import RunStatus
from covey.errors import InvalidArgumentError, NotFoundError
from engine.errors import NotModifiedError
from engine.request_context import RequestContext, empty_response
from engine.routing import Route


async def start(context: RequestContext) -> web.Response:
    if context.query("checkpoint") or context.query("checkpoint-dir"):
        raise InvalidArgumentError("checkpoint is not supported by Covey: it needs CRIU; start without checkpoint")
    containers = context.services.agent.containers
    state = containers.get(context.ref).state
    if state.active and state.status is not RunStatus.PAUSED:
        raise NotModifiedError(f"container {context.ref} is already running")
    await containers.start(context.ref)
    return empty_response(204)


async def stop(context: RequestContext) -> web.Response:
    containers = context.services.agent.containers
    if not containers.get(context.ref).state.active:
        raise NotModifiedError(f"container {context.ref} is already stopped")
    await containers.stop(context.ref, context.number("t"), context.query("signal"))
    return empty_response(204)


async def restart(context: RequestContext) -> web.Response:
    containers = context.services.agent.containers
    await containers.restart(context.ref, context.number("t"), context.query("signal"))
    return empty_response(204)


async def kill(context: RequestContext) -> web.Response:
    try:
        await context.services.agent.containers.kill(context.ref, context.query("signal") or "SIGKILL")
    except NotFoundError as error:
        raise NotFoundError(f"Cannot kill container: {context.ref}: {error.message}") from None
    return empty_response(204)


async def pause(context: RequestContext) -> web.Response:
    await context.services.agent.containers.pause(context.ref)
    return empty_response(204)


async def unpause(context: RequestContext) -> web.Response:
    await context.services.agent.containers.unpause(context.ref)
    return empty_response(204)


async def rename(context: RequestContext) -> web.Response:
    name = context.query("name").lstrip("/")
    if not name:
        raise InvalidArgumentError("Neither old nor new names may be empty")
    await context.services.agent.containers.rename(context.ref, name)
    return empty_response(204)


async def remove(context: RequestContext) -> web.Response:
    if context.flag("link"):
        await context.services.agent.containers.remove_link(context.ref)
        return empty_response(204)
    await context.services.agent.containers.remove(context.ref, force=context.flag("force"), volumes=context.flag("v"))
    return empty_response(204)


ROUTES = [
    Route("POST", "/containers/{ref}/start", start),
    Route("POST", "/containers/{ref}/stop", stop),
    Route("POST", "/containers/{ref}/restart", restart),
    Route("POST", "/containers/{ref}/kill", kill),
    Route("POST", "/containers/{ref}/pause", pause),
    Route("POST", "/containers/{ref}/unpause", unpause),
    Route("POST", "/containers/{ref}/rename", rename),
    Route("DELETE", "/containers/{ref}", remove),
]
