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


async def list_containers(call: RequestContext) -> web.Response:
    wanted = call.filters(*container_json.FILTERS)
    limit = call.number("limit") or 0
    everything = call.flag("all") or limit > 0 or bool({"status", "exited", "before", "since"} & wanted.keys())
    listed = sorted(call.engine.agent.containers.list(), key=_newest_first)
    kept = [
        item for item in listed if (everything or item.state.running) and container_json.matches(wanted, item, listed)
    ]
    now = call.engine.clock()
    return json_response([container_json.summary(item, now) for item in (kept[:limit] if limit > 0 else kept)])


async def create(call: RequestContext) -> web.Response:
    del call
    raise UnsupportedError(
        "creating single containers (POST /containers/create, docker run) is not supported by Covey yet: "
        "containers are created by services; use docker service create"
    )


async def inspect(call: RequestContext) -> web.Response:
    containers = call.engine.agent.containers
    container = containers.get(call.ref)
    log_path = str(containers.log_path(container.id))
    return json_response(container_json.inspect(container, log_path, list(containers.list_execs(container.id))))


async def start(call: RequestContext) -> web.Response:
    containers = call.engine.agent.containers
    if containers.get(call.ref).state.running:
        raise NotModifiedError(f"container {call.ref} runs already")
    await containers.start(call.ref)
    return empty_response(204)


async def stop(call: RequestContext) -> web.Response:
    containers = call.engine.agent.containers
    if not containers.get(call.ref).state.running:
        raise NotModifiedError(f"container {call.ref} is stopped already")
    await containers.stop(call.ref, call.number("t"), call.query("signal"))
    return empty_response(204)


async def restart(call: RequestContext) -> web.Response:
    containers = call.engine.agent.containers
    if containers.get(call.ref).state.running:
        await containers.stop(call.ref, call.number("t"), call.query("signal"))
    await containers.start(call.ref)
    return empty_response(204)


async def kill(call: RequestContext) -> web.Response:
    await call.engine.agent.containers.kill(call.ref, call.query("signal") or "SIGKILL")
    return empty_response(204)


async def pause(call: RequestContext) -> web.Response:
    await call.engine.agent.containers.pause(call.ref)
    return empty_response(204)


async def unpause(call: RequestContext) -> web.Response:
    await call.engine.agent.containers.unpause(call.ref)
    return empty_response(204)


async def rename(call: RequestContext) -> web.Response:
    name = call.query("name").lstrip("/")
    if not name:
        raise InvalidArgumentError("Neither old nor new names may be empty")
    await call.engine.agent.containers.rename(call.ref, name)
    return empty_response(204)


async def remove(call: RequestContext) -> web.Response:
    if call.flag("link"):
        raise UnsupportedError("removing links between containers (link) is not supported by Covey: there are none")
    await call.engine.agent.containers.remove(call.ref, force=call.flag("force"), volumes=call.flag("v"))
    return empty_response(204)


async def prune(call: RequestContext) -> web.Response:
    """Stopped containers that belong to no task: a task's are its worker's to remove."""
    wanted = call.filters("label")
    containers, removed = call.engine.agent.containers, []
    listed = containers.list()
    for item in listed:
        stopped = item.state.status in (RunStatus.CREATED, RunStatus.EXITED, RunStatus.DEAD)
        if stopped and not item.config.task_id and container_json.matches(wanted, item, listed):
            await containers.remove(item.id)
            removed.append(item.id)
    return json_response({"ContainersDeleted": removed or None, "SpaceReclaimed": 0})


def _newest_first(item: Container) -> tuple[int, str]:
    return -item.config.created_at_ns, item.id


ROUTES = [
    Route("GET", "/containers/json", list_containers),
    Route("POST", "/containers/create", create),
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
