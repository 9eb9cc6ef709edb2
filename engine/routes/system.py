"""Routes for ping, version and disk usage."""

from collections import Counter

from aiohttp import web

from covey.version import covey_version, engine_version
from engine.container_size import size_fields
from engine.host_programs import components
from engine.interfaces import LocalNodeState
from engine.request_context import RequestContext, json_response
from engine.routing import API_VERSION, MIN_API_VERSION, Route, format_version
from engine.translate import build as build_json
from engine.translate import container_list
from engine.translate import disk_usage as usage_json
from engine.translate import image as image_json
from engine.translate import volume as volume_json
from engine.translate.api_versions import shape


async def ping(context: RequestContext) -> web.Response:
    node = context.services.node
    state = str(node.state)
    if node.state is LocalNodeState.ACTIVE:
        state += "/manager" if node.is_manager else "/worker"
    headers = {
        "Builder-Version": "1",
        "Swarm": state,
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
    }
    return web.Response(
        text="OK" if context.request.method == "GET" else None, headers=headers, content_type="text/plain"
    )


async def version(context: RequestContext) -> web.Response:
    host, release = context.services.host, engine_version()
    details = {
        "ApiVersion": format_version(API_VERSION),
        "Arch": host.goarch,
        "BuildTime": "",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": host.kernel,
        "MinAPIVersion": format_version(MIN_API_VERSION),
        "Os": "linux",
    }
    engine = {"Name": "Engine", "Version": release, "Details": {**details, "Experimental": "false"}}
    own = {"Name": "covey", "Version": covey_version(), "Details": {"GitCommit": ""}}
    return json_response(
        {
            "Platform": {"Name": f"Covey {covey_version()}"},
            "Components": [engine, own, *components(context.services.programs)],
            "Version": release,
            **details,
        }
    )


async def disk_usage(context: RequestContext) -> web.Response:
    """Sizes and use of images, containers and volumes. An image is in use if any container has it, also a stopped one."""
    agent = context.services.agent
    types = usage_json.chosen_types(context.request.query.getall("type", []), context.version)
    images = agent.images.list()
    users = Counter(container.config.image_id for container in agent.containers.list())
    shared = usage_json.shared_sizes(images)
    volumes = [
        volume_json.write(
            item,
            str(agent.volumes.data_path(item.name)),
            {
                "RefCount": len(agent.containers.volume_users(item.name)),
                "Size": await agent.volumes.size_bytes(item.name),
            },
        )
        for item in (agent.volumes.list() if "volume" in types else ())
    ]
    containers = [
        container_list.summary(
            item, context.services.clock(), context.services.node.engine_id, context.services.volume_path
        )
        | await size_fields(agent, item)
        for item in (agent.containers.list() if "container" in types else ())
    ]
    summaries = [
        shape("image summary", context.version, image_json.summary(item, users[item.id], shared[item.id]))
        for item in images
    ]
    cache = await agent.builds.cache() if "build-cache" in types else ()
    records = [build_json.cache_record(record) for record in cache]
    usage = usage_json.write(agent.images.disk_bytes(), summaries, containers, volumes, types, cache=records)
    return json_response(shape("disk usage", context.version, usage))


ROUTES = [
    Route("GET", "/_ping", ping),
    Route("HEAD", "/_ping", ping),
    Route("GET", "/version", version),
    Route("GET", "/system/df", disk_usage),
]
