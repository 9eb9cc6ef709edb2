"""Routes that reach registries: pull, push, login, distribution, search."""

from aiohttp import web

from agent.image.registry.auth_config import Credentials, decode_body, decode_header
from covey import image_reference
from covey.errors import InvalidArgumentError
from engine.progress_response import progress_response
from engine.request_context import RequestContext, json_response, read_bounded
from engine.routes.image_import import import_image
from engine.routes.images import publish_image
from engine.routing import Route
from engine.translate.image_platform import read_platform

AUTH_HEADER = "X-Registry-Auth"
AUTH_LIMIT_BYTES = 64 << 10


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


async def push(context: RequestContext) -> web.StreamResponse:
    """Push a tag, or without one every tag of the repository. Every error after the first line is in the stream, as in Docker."""
    header = context.request.headers.get(AUTH_HEADER)
    if header is None:
        found = await _credentials_in_body(context)
    else:
        found = decode_header(header)
    tag = context.query("tag")
    name = f"{context.ref}:{tag}" if tag else context.ref
    if platform := read_platform(context.query("platform")):  # an image here has one platform
        context.services.agent.images.get_for_platform(name, platform)
    async with progress_response(context) as response:
        with context.services.agent.registries.push(name, all_tags=not tag, credentials=found) as job:
            await response.write_all(aiter(job))
            for pushed in await job.result():
                image = context.services.agent.images.get(pushed.image_id)
                publish_image(context, "push", image, f"{context.ref}:{pushed.tag}")
    return response.stream


async def login(context: RequestContext) -> web.Response:
    """Check a user's credentials with a registry."""
    body = await read_bounded(context.request, AUTH_LIMIT_BYTES)
    token = await context.services.agent.registries.login(decode_body(body))
    return json_response({"Status": "Login Succeeded", "IdentityToken": token})


async def distribution(context: RequestContext) -> web.Response:
    """What a registry has under a name. Clients ask this to pin a service's image to a digest."""
    found = await context.services.agent.registries.inspect(context.ref, credentials(context))
    descriptor = {"mediaType": found.media_type, "digest": found.digest, "size": found.size}
    platforms = [
        {"architecture": architecture, "os": system, **({"variant": variant} if variant else {})}
        for system, architecture, variant in found.platforms
    ]
    return json_response({"Descriptor": descriptor, "Platforms": platforms})


async def search(context: RequestContext) -> web.Response:
    filters = context.filters("is-automated", "is-official", "stars")
    term, limit = context.query("term"), context.number("limit")
    found = await context.services.agent.registries.search(term, limit, filters, credentials(context))
    return json_response(
        [
            {
                "star_count": item.star_count,
                "is_official": item.is_official,
                "name": item.name,
                "is_automated": item.is_automated,
                "description": item.description,
            }
            for item in found
        ]
    )


def credentials(context: RequestContext) -> Credentials:
    """The credentials of the request's header; anonymous if it has none or a malformed one, as in Docker."""
    return decode_header(context.request.headers.get(AUTH_HEADER, ""))


async def _credentials_in_body(context: RequestContext) -> Credentials:
    """Old clients send the credentials of a push as its body."""
    body = await read_bounded(context.request, AUTH_LIMIT_BYTES)
    if not body.strip():
        raise InvalidArgumentError("Bad parameters and missing X-Registry-Auth: EOF")
    return decode_body(body)


ROUTES = [
    Route("POST", "/images/create", create),
    Route("GET", "/images/search", search),
    Route("POST", "/images/{ref*}/push", push),
    Route("POST", "/auth", login),
    Route("GET", "/distribution/{ref*}/json", distribution),
]
