"""Routes that connect containers of this host to networks and disconnect them."""

import msgspec
from aiohttp import web

from covey.errors import NotFoundError, PermissionDeniedError
from covey.objects import Network
from engine.request_context import RequestContext, empty_response
from engine.routes.networks import find_cluster_network, local_or_none
from engine.routing import Route
from engine.translate.container_create.networking import read_connect, read_disconnect


async def connect(context: RequestContext) -> web.Response:
    """Connect a container of this host to a network, at once if it runs."""
    request, container = read_connect(await context.json())
    containers = context.services.agent.containers
    containers.get(container)
    local = local_or_none(context, context.ref)
    if local is not None:
        if local.name not in {"host", "none"}:
            context.services.agent.endpoints.local.check_request(local, request)
        name = local.name
    else:
        network = await find_cluster_network(context, context.ref)
        if network is None and (context.services.control_available or not context.services.node.node_id):
            raise NotFoundError(f"network {context.ref} not found")
        name = network.spec.annotations.name if network else context.ref  # a worker's manager looks it up
        _require_attachable(network)
    await containers.connect_network(container, msgspec.structs.replace(request, network=name))
    return empty_response()


async def disconnect(context: RequestContext) -> web.Response:
    """Disconnect a container. With `Force` also an endpoint whose container is gone."""
    container, force = read_disconnect(await context.json())
    local = local_or_none(context, context.ref)
    if local is not None:
        name = local.name
    else:
        network = await find_cluster_network(context, context.ref)
        name = network.spec.annotations.name if network else context.ref
        if network is None:
            _require_endpoint(context, container, force=force)
    try:
        await context.services.agent.containers.disconnect_network(container, name)
    except NotFoundError:
        if not (force and local and await context.services.agent.endpoints.local.remove_stale(local, container)):
            raise
    return empty_response()


def _require_endpoint(context: RequestContext, container: str, *, force: bool) -> None:
    """As in Docker, a running container leaves a network that nobody knows only by force, or if it still is on it."""
    found = context.services.agent.containers.get(container)
    on = {name for item in found.config.networks for name in (item.name, item.network_id)}
    on |= {request.network for request in found.config.requested_networks}
    if found.state.running and not force and context.ref not in on:
        raise NotFoundError(f"network {context.ref} not found")


def _require_attachable(network: Network | None) -> None:
    if network is not None and not network.spec.attachable:
        name = network.spec.annotations.name
        raise PermissionDeniedError(
            f"Could not attach to network {name}: rpc error: code = PermissionDenied desc = network {name} not manually attachable"
        )


ROUTES = [
    Route("POST", "/networks/{ref}/connect", connect),
    Route("POST", "/networks/{ref}/disconnect", disconnect),
]
