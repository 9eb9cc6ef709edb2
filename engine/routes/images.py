"""Routes for this host's images: load, list, inspect, tag, remove, save, prune."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

from aiohttp import web

from agent.image.model import Image, ImageRemoval
from covey.errors import InvalidArgumentError
from engine.progress_response import progress_response
from engine.prune import IMAGE, pruning
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.streams import chunked_response
from engine.translate import disk_usage, event
from engine.translate import image as image_json
from engine.translate.api_versions import shape
from engine.translate.filters import filter_flag
from engine.translate.image_platform import read_platform

FILTERS = ("before", "dangling", "label", "reference", "since", "until")
PRUNE_FILTERS = ("dangling", "label", "label!", "until")
CHUNK_BYTES = 1 << 20


async def list_images(context: RequestContext) -> web.Response:
    counts = Counter(container.config.image_id for container in context.services.agent.containers.list())
    images = context.services.agent.images.list(context.filters(*FILTERS))
    shared = disk_usage.shared_sizes(context.services.agent.images.list()) if context.flag("shared-size") else {}
    return json_response(
        [
            shape(
                "image summary", context.version, image_json.summary(image, counts[image.id], shared.get(image.id, -1))
            )
            for image in images
        ]
    )


async def inspect(context: RequestContext) -> web.Response:
    return json_response(image_json.inspect(context.services.agent.images.get(context.ref), context.version))


async def history(context: RequestContext) -> web.Response:
    images = context.services.agent.images
    image = images.get_for_platform(context.ref, read_platform(context.query("platform")))
    return json_response(image_json.history(image, image.history))


async def tag(context: RequestContext) -> web.Response:
    images = context.services.agent.images
    repository = context.query("repo")
    if not repository:
        raise InvalidArgumentError("query parameter repo is required: the name of the new tag")
    target = f"{repository}:{context.query('tag')}" if context.query("tag") else repository
    await images.tag(context.ref, target)
    publish_image(context, "tag", images.get(context.ref), target)
    return empty_response(201)


async def remove(context: RequestContext) -> web.Response:
    images = context.services.agent.images
    image = images.get(context.ref)
    removed = await images.remove(context.ref, force=context.flag("force"))
    for item in removed:
        if item.untagged:
            publish_image(context, "untag", image, item.untagged)
        elif item.deleted == image.id:
            publish_image(context, "delete", image, image.id)
    return json_response(_removed(removed))


async def prune_images(context: RequestContext) -> web.Response:
    active_filters = dict(context.filters(*PRUNE_FILTERS))
    unused = filter_flag(active_filters, "dangling") is False
    active_filters.pop("dangling", None)
    with pruning(context, IMAGE) as prune:
        removed, prune.reclaimed_bytes = await context.services.agent.images.prune(
            unused=unused, filters=active_filters
        )
    return json_response({"ImagesDeleted": _removed(removed), "SpaceReclaimed": prune.reclaimed_bytes})


async def load(context: RequestContext) -> web.StreamResponse:
    """Respond with the progress, or quietly once the archive is loaded. As in Docker, errors are in the stream."""
    platform = read_platform(context.query("platform"))
    images = context.services.agent.images
    async with progress_response(context, errors_in_stream=True) as response:
        with images.loading(archive_body(context), platform=platform) as job:
            if not context.flag("quiet", default=True):
                await response.write_all(aiter(job))
            for name in await job.result():
                label = "Loaded image ID: " if name.startswith("sha256:") else "Loaded image: "
                await response.write({"stream": f"{label}{name}\n"})
                publish_image(context, "load", images.get(name), name)
    return response.stream


async def save(context: RequestContext) -> web.StreamResponse:
    names = context.request.query.getall("names", [])
    return await _save(context, [part for name in names for part in name.split(",")])


async def save_one(context: RequestContext) -> web.StreamResponse:
    return await _save(context, [context.ref])


async def _save(context: RequestContext, names: list[str]) -> web.StreamResponse:
    if not names:
        raise InvalidArgumentError("query parameter names is required: the images to save")
    archive = context.services.agent.images.save(names, platform=read_platform(context.query("platform")))
    async with chunked_response(context, "application/x-tar") as response:
        async for chunk in archive:
            await response.write(chunk)
    return response


async def archive_body(context: RequestContext) -> AsyncIterator[bytes]:
    """The request's body in chunks."""
    async for chunk in context.request.content.iter_chunked(CHUNK_BYTES):
        yield chunk
        await asyncio.sleep(0)


def _removed(items: tuple[ImageRemoval, ...]) -> list[dict[str, str]]:
    return [{"Untagged": item.untagged} if item.untagged else {"Deleted": item.deleted} for item in items]


def publish_image(context: RequestContext, action: str, image: Image, name: str) -> None:
    attributes = {**image.config.labels, "name": name}
    context.services.events.publish(event.message("image", action, image.id, attributes, context.services.clock()))


ROUTES = [
    Route("GET", "/images/json", list_images),
    Route("POST", "/images/load", load),
    Route("POST", "/images/prune", prune_images),
    Route("GET", "/images/get", save),
    Route("GET", "/images/{ref*}/json", inspect),
    Route("GET", "/images/{ref*}/history", history),
    Route("GET", "/images/{ref*}/get", save_one),
    Route("POST", "/images/{ref*}/tag", tag),
    Route("DELETE", "/images/{ref*}", remove),
]
