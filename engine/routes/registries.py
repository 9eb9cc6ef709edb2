"""Routes that reach registries: pull, push, login, distribution, search."""

from aiohttp import web

from agent.image.registry.auth_config import Credentials, decode_header
from covey import image_reference
from engine.progress_response import progress_response
from engine.request_context import RequestContext
from engine.routes.images import import_image, publish_image
from engine.routing import Route

AUTH_HEADER = "X-Registry-Auth"


async def create(context: RequestContext) -> web.StreamResponse:
    """``docker pull`` and ``docker import`` share this path."""
    return await (pull(context) if context.query("fromImage") else import_image(context))


async def pull(context: RequestContext) -> web.StreamResponse:
    """Pull a tag or digest, or without either every tag of the repository, as Docker does."""
    name, tag = context.query("fromImage"), context.query("tag")
    reference = image_reference.parse(name)
    if tag:
        name = str(image_reference.Reference(reference.domain, reference.path))
        name = f"{name}@{tag}" if image_reference.is_digest(tag) else f"{name}:{tag}"
        reference = image_reference.parse(name)
    registries, platform = context.services.agent.registries, context.query("platform")
    start = registries.pull if reference.tag or reference.digest else registries.pull_all_tags
    async with progress_response(context) as response:
        with start(name, platform=platform, credentials=credentials(context)) as job:
            await response.write_all(aiter(job))
            for pulled in await job.result():
                publish_image(context, "pull", context.services.agent.images.get(pulled.image_id), reference.familiar)
    return response.stream


def credentials(context: RequestContext) -> Credentials:
    """The credentials of the request's header; anonymous if it has none or a malformed one, as in Docker."""
    return decode_header(context.request.headers.get(AUTH_HEADER, ""))


ROUTES = [
    Route("POST", "/images/create", create),
]
