"""Routes for this host's volumes, all of the ``local`` driver."""

from aiohttp import web

from covey.errors import NotFoundError
from engine.prune import VOLUME, pruning
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.translate import volume as volume_json
from engine.translate.json_fields import JsonFields


async def list_volumes(context: RequestContext) -> web.Response:
    active_filters = context.filters(*volume_json.LIST_FILTERS)
    agent = context.services.agent
    matching = [
        volume_json.write(volume, str(agent.volumes.data_path(volume.name)))
        for volume in agent.volumes.list()
        if volume_json.matches(active_filters, volume, agent.containers.volume_users(volume.name))
    ]
    return json_response({"Volumes": matching, "Warnings": None})


async def create(context: RequestContext) -> web.Response:
    fields = JsonFields(await context.json())
    name, driver = fields.text("Name"), fields.text("Driver")
    labels, options = fields.text_map("Labels"), fields.text_map("DriverOpts")
    fields.refuse_unsupported()
    volumes = context.services.agent.volumes
    volume = volumes.create(name, driver=driver, labels=labels, options=options, now_ns=context.services.clock())
    return json_response(volume_json.write(volume, str(volumes.data_path(volume.name))), 201)


async def inspect(context: RequestContext) -> web.Response:
    volumes = context.services.agent.volumes
    return json_response(volume_json.write(volumes.get(context.ref), str(volumes.data_path(context.ref))))


async def remove(context: RequestContext) -> web.Response:
    """Remove a volume. With ``force`` a missing one is no error; one in use is refused all the same, as in Docker."""
    try:
        await context.services.agent.containers.remove_volume(context.ref)
    except NotFoundError:
        if not context.flag("force"):
            raise
    return empty_response(204)


async def prune_volumes(context: RequestContext) -> web.Response:
    """Remove anonymous volumes that no container has; named ones too with ``all``, and before API 1.42."""
    active_filters = context.filters(*volume_json.PRUNE_FILTERS)
    named = volume_json.prunes_named(active_filters, context.version)
    agent, removed = context.services.agent, list[str]()
    with pruning(context, VOLUME) as prune:
        for volume in agent.volumes.list():
            unused = not agent.containers.volume_users(volume.name)
            if unused and (named or volume.is_anonymous) and volume_json.matches_labels(active_filters, volume):
                size = await agent.volumes.size_bytes(volume.name)
                await agent.containers.remove_volume(volume.name)
                prune.reclaimed_bytes += size
                removed.append(volume.name)
    return json_response({"VolumesDeleted": removed, "SpaceReclaimed": prune.reclaimed_bytes})


ROUTES = [
    Route("GET", "/volumes", list_volumes),
    Route("POST", "/volumes/create", create),
    Route("POST", "/volumes/prune", prune_volumes),
    Route("GET", "/volumes/{ref}", inspect),
    Route("DELETE", "/volumes/{ref}", remove),
]
