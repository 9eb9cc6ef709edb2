"""Routes for this host's containers: list, inspect, prune.

What changes a container is in ``container_lifecycle``; logs, attach and stats are in ``container_streams``.
"""

import contextlib

from aiohttp import web

from agent.container.model import Container
from covey.errors import ConflictError, CoveyError, NotFoundError
from engine.container_size import size_fields
from engine.prune import CONTAINER, pruning
from engine.request_context import RequestContext, json_response
from engine.routes.task_location import with_location
from engine.routing import Route
from engine.translate import container as container_json
from engine.translate import container_filters, container_list
from engine.translate.api_versions import shape
from engine.translate.filters import Filters
from engine.translate.times import parse_moment


async def list_containers(context: RequestContext) -> web.Response:
    active = context.filters(*container_filters.LIST_FILTERS)
    limit = context.number("limit") or 0
    containers, engine_id = context.services.agent.containers, context.services.node.engine_id
    listed = sorted(containers.list(), key=_newest_first)
    wanted = container_filters.ContainerFilter(active, listed, _image_ids(context, active), engine_id)
    everything = context.flag("all") or limit > 0 or wanted.includes_stopped
    matching = [item for item in listed if (everything or item.state.active) and wanted.matches(item)]
    now = context.services.clock()
    found = []
    for item in matching[:limit] if limit > 0 else matching:
        shown = container_list.summary(item, now, engine_id, context.services.volume_path)
        if context.flag("size"):
            shown |= await size_fields(context.services.agent, item)
        found.append(shape("container summary", context.version, shown))
    return json_response(found)


def _image_ids(context: RequestContext, active: Filters) -> dict[str, str]:
    """The ids of the images that the filter ``ancestor`` names; an unknown one matches no container."""
    found = {}
    for name in active.get("ancestor", ()):
        with contextlib.suppress(CoveyError):
            found[name] = context.services.agent.images.get(name).id
    return found


async def inspect(context: RequestContext) -> web.Response:
    containers = context.services.agent.containers
    try:
        container = containers.get(context.ref)
    except NotFoundError as error:
        raise await with_location(error, context) from None
    engine_id = context.services.node.engine_id
    execs = [item for item in containers.list_execs(container.id) if containers.exec_inspect(item).exit_code is None]
    files = containers.files(container.id)
    shown = container_json.inspect(container, files, execs, engine_id, context.services.volume_path)
    if context.flag("size"):
        shown |= await size_fields(context.services.agent, container)
    return json_response(shape("container", context.version, shown))


async def prune_containers(context: RequestContext) -> web.Response:
    """Remove stopped containers that belong to no task. The worker removes those of tasks."""
    active, now = context.filters(*container_filters.PRUNE_FILTERS), context.services.clock()
    for moment in active.get("until", ()):
        parse_moment(moment, now)  # also refused when there is nothing to prune
    containers, removed = context.services.agent.containers, list[str]()
    with pruning(context, CONTAINER) as prune:
        for item in containers.list():
            if not container_filters.matches_prune(active, item, now):
                continue
            with contextlib.suppress(ConflictError, NotFoundError):  # it was started or removed meanwhile
                size = await containers.writable_bytes(item.id)
                await containers.remove(item.id)
                removed.append(item.id)
                prune.reclaimed_bytes += size
    return json_response({"ContainersDeleted": removed, "SpaceReclaimed": prune.reclaimed_bytes})


def _newest_first(item: Container) -> tuple[int, str]:
    return -item.config.created_at_ns, item.id


ROUTES = [
    Route("GET", "/containers/json", list_containers),
    Route("POST", "/containers/prune", prune_containers),
    Route("GET", "/containers/{ref}/json", inspect),
]
