"""Route that changes a container's limits and restart policy: `POST /containers/{id}/update`."""

from aiohttp import web

from engine.request_context import RequestContext, json_response
from engine.routing import Route
from engine.translate.container_update import merge_limits, read_update
from engine.translate.resource_limits import HostCapacity, check_limits


async def update(context: RequestContext) -> web.Response:
    host, containers = context.services.host, context.services.agent.containers
    container = containers.get(context.ref)
    request = read_update(await context.json())
    limits = merge_limits(container.config, request)
    capacity = HostCapacity(cpus=host.cpus, cpu_list=host.cpu_list, memory_nodes=host.memory_nodes)
    warnings = check_limits(limits, capacity, update=True)
    await containers.update(container.id, limits, request.restart)
    return json_response({"Warnings": warnings or None})


ROUTES = [Route("POST", "/containers/{ref}/update", update)]
