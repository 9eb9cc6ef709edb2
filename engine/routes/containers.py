"""Routes for this host's containers: list, inspect, start, stop, kill, rename, remove, prune.

Logs, attach and stats are in ``container_streams``.
"""

from aiohttp import web

from agent.container.model import Container, RunStatus
from covey.errors import InvalidArgumentError, UnsupportedError
from engine.errors import NotModifiedError
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.translate import container as container_json
from engine.translate import container_list


async def list_containers(context: RequestContext) -> web.Response:
    active_filters = context.filters(*container_list.FILTERS)
    limit = context.number("limit") or 0
    everything = (
        context.flag("all") or limit > 0 or bool({"status", "exited", "before", "since"} & active_filters.keys())
    )
    listed = sorted(context.services.agent.containers.list(), key=_newest_first)
    matching = [
        item
        for item in listed
        if (everything or item.state.running) and container_list.matches(active_filters, item, listed)
    ]
    now, find = context.services.clock(), context.services.volume_path
    engine_id = context.services.node.engine_id
    return json_response(
        [container_list.summary(item, now, engine_id, find) for item in (matching[:limit] if limit > 0 else matching)]
    )


async def inspect(context: RequestContext) -> web.Response:
    containers = context.services.agent.containers
    container = containers.get(context.ref)
    execs, engine_id = list(containers.list_execs(container.id)), context.services.node.engine_id
    files = containers.files(container.id)
    return json_response(container_json.inspect(container, files, execs, engine_id, context.services.volume_path))


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
    await context.services.agent.containers.kill(context.ref, context.query("signal") or "SIGKILL")
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
        raise UnsupportedError("removing links between containers (link) is not supported by Covey, which has no links")
    await context.services.agent.containers.remove(context.ref, force=context.flag("force"), volumes=context.flag("v"))
    return empty_response(204)


async def prune(context: RequestContext) -> web.Response:
    """Remove stopped containers that belong to no task. The worker removes those of tasks."""
    active_filters = context.filters("label")
    containers, removed = context.services.agent.containers, []
    listed = containers.list()
    for item in listed:
        stopped = item.state.status in (RunStatus.CREATED, RunStatus.EXITED, RunStatus.DEAD)
        if stopped and not item.config.task_id and container_list.matches(active_filters, item, listed):
            await containers.remove(item.id)
            removed.append(item.id)
    return json_response({"ContainersDeleted": removed or None, "SpaceReclaimed": 0})


def _newest_first(item: Container) -> tuple[int, str]:
    return -item.config.created_at_ns, item.id


ROUTES = [
    Route("GET", "/containers/json", list_containers),
    Route("POST", "/containers/prune", prune),
    Route("GET", "/containers/{ref}/json", inspect),
    Route("POST", "/containers/{ref}/start", start),
    Route("POST", "/containers/{ref}/stop", stop),
    Route("POST", "/containers/{ref}/restart", restart),
    Route("POST", "/containers/{ref}/kill", kill),
    Route("POST", "/containers/{ref}/pause", pause),
    Route("POST", "/containers/{ref}/unpause", unpause),
    Route("POST", "/containers/{ref}/rename", rename),
    Route("DELETE", "/containers/{ref}", remove),
]
