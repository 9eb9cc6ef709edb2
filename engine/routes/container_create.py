"""Route that creates a container: `POST /containers/create`.

Invariant: a request that is refused has created nothing.
"""

import secrets

from aiohttp import web

from agent.container.model import Container
from agent.image.model import Image
from covey.container_runtime import programs
from covey.errors import AlreadyExistsError, NotFoundError
from covey.image_platform import parse_platform
from engine.name_generator import generate_name
from engine.request_context import RequestContext, json_response
from engine.routing import Route
from engine.translate import image_platform
from engine.translate.container_create.request import CreateRequest, Identity, container_config, read_request
from engine.translate.resource_limits import HostCapacity

_NAME_ATTEMPTS = 8
_FIREWALL = "Published ports may not answer: the host's firewall drops forwarded packets. docker info names the chain and the remedy."


async def create(context: RequestContext) -> web.Response:
    services, host = context.services, context.services.host
    capacity = HostCapacity(cpus=host.cpus, cpu_list=host.cpu_list, memory_nodes=host.memory_nodes)
    request = read_request(await context.json(), capacity, programs(services.settings.current.runtimes))
    wanted = parse_platform(image_platform.read_platform(context.query("platform")))
    image = services.agent.images.get(request.config.image)
    image_platform.require(image, wanted, request.config.image)
    warnings = [*request.warnings, "" if wanted else image_platform.warning(image, host.goarch)]
    container = await _create(context, request, image)
    is_published = container.config.port_bindings or container.config.publish_all_ports
    if is_published and services.agent.networks.warnings:
        warnings.append(_FIREWALL)
    return json_response({"Id": container.id, "Warnings": [each for each in warnings if each]}, 201)


async def _create(context: RequestContext, request: CreateRequest, image: Image) -> Container:
    """Create the container under its name, or under a random one that is free."""
    given = context.query("name").removeprefix("/")
    attempts = 1 if given else _NAME_ATTEMPTS
    for attempt in range(attempts):
        container_id = secrets.token_hex(32)
        # the last attempts carry a suffix, so that a host with every name taken still gets one
        generated = generate_name() + (f"_{container_id[:6]}" if attempt >= _NAME_ATTEMPTS // 2 else "")
        identity = Identity(
            id=container_id,
            name=given or generated,
            created_at_ns=context.services.clock(),
            hostname=context.services.node.hostname,
        )
        try:
            return await context.services.agent.containers.create(container_config(request, image, identity))
        except AlreadyExistsError:
            if attempt == attempts - 1:
                raise
    raise NotFoundError("no free container name was found; give one with --name")


ROUTES = [Route("POST", "/containers/create", create)]
