"""Routes for this host's images: load, import, list, inspect, tag, remove, save, prune. Pull and push are not supported yet."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from agent.image.model import Image, ImageRemoval
from covey.errors import CoveyError, InvalidArgumentError, UnsupportedError
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.streams import chunked_response, write_json_line
from engine.translate import event
from engine.translate import image as image_json

FILTERS = ("before", "dangling", "label", "reference", "since", "until")
PRUNE_FILTERS = ("dangling", "label", "label!", "until")
CHUNK_BYTES = 1 << 20


async def list_images(call: RequestContext) -> web.Response:
    counts = Counter(container.config.image_id for container in call.engine.agent.containers.list())
    images = call.engine.agent.images.list(call.filters(*FILTERS))
    return json_response([image_json.summary(image, counts[image.id]) for image in images])


async def inspect(call: RequestContext) -> web.Response:
    return json_response(image_json.inspect(call.engine.agent.images.get(call.ref)))


async def history(call: RequestContext) -> web.Response:
    images = call.engine.agent.images
    return json_response(image_json.history(images.get(call.ref), images.history(call.ref)))


async def tag(call: RequestContext) -> web.Response:
    images = call.engine.agent.images
    repository = call.query("repo")
    if not repository:
        raise InvalidArgumentError("repo is missing: say which name to give the image")
    target = f"{repository}:{call.query('tag')}" if call.query("tag") else repository
    await images.tag(call.ref, target)
    _publish(call, "tag", images.get(call.ref), target)
    return empty_response(201)


async def remove(call: RequestContext) -> web.Response:
    images = call.engine.agent.images
    image = images.get(call.ref)
    removed = await images.remove(call.ref, force=call.flag("force"))
    for item in removed:
        if item.untagged:
            _publish(call, "untag", image, item.untagged)
        elif item.deleted == image.id:
            _publish(call, "delete", image, image.id)
    return json_response(_removed(removed))


async def prune(call: RequestContext) -> web.Response:
    wanted = dict(call.filters(*PRUNE_FILTERS))
    dangling = wanted.pop("dangling", ("true",))
    if "label!" in wanted:
        raise UnsupportedError("the filter label! of an image prune is not supported by Covey yet; remove it")
    unused = dangling[0].lower() in ("false", "0")
    removed, freed = await call.engine.agent.images.prune(unused=unused, filters=wanted)
    return json_response({"ImagesDeleted": _removed(removed) or None, "SpaceReclaimed": freed})


async def load(call: RequestContext) -> web.StreamResponse:
    """Docker's answer is a stream; an error after its head is a line of it, which clients show as theirs."""
    if call.query("platform"):
        raise UnsupportedError("loading one platform of an archive (platform) is not supported by Covey yet; remove it")
    images = call.engine.agent.images
    async with chunked_response(call, "application/json") as response:
        try:
            for name in await images.load(_body(call)):
                word = "Loaded image ID: " if name.startswith("sha256:") else "Loaded image: "
                await write_json_line(response, {"stream": f"{word}{name}\n"})
                _publish(call, "load", images.get(name), name)
        except CoveyError as error:
            await write_json_line(response, _error(error))
    return response


async def create(call: RequestContext) -> web.StreamResponse:
    """``docker import`` and ``docker pull`` share this route."""
    if not call.query("fromSrc"):
        name = call.query("fromImage")
        separator = "@" if ":" in call.query("tag") else ":"
        await call.engine.agent.images.pull(f"{name}{separator}{call.query('tag')}" if call.query("tag") else name)
        raise UnsupportedError("pulling an image (POST /images/create) is not supported by Covey yet; use docker load")
    if call.query("fromSrc") != "-":
        raise UnsupportedError(
            "importing from a URL (fromSrc) is not supported by Covey yet; pipe the archive in, with -"
        )
    name = call.query("repo")
    name = f"{name}:{call.query('tag')}" if name and call.query("tag") else name
    images = call.engine.agent.images
    async with chunked_response(call, "application/json") as response:
        try:
            image_id = await images.import_(
                _body(call),
                name,
                message=call.query("message"),
                changes=call.request.query.getall("changes", []),
                architecture=_architecture(call.query("platform")),
            )
        except CoveyError as error:
            await write_json_line(response, _error(error))
        else:
            await write_json_line(response, {"status": image_id})
            _publish(call, "import", images.get(image_id), name or image_id)
    return response


async def save(call: RequestContext) -> web.StreamResponse:
    names = call.request.query.getall("names", [])
    return await _save(call, [part for name in names for part in name.split(",")])


async def save_one(call: RequestContext) -> web.StreamResponse:
    return await _save(call, [call.ref])


async def push(call: RequestContext) -> web.Response:
    await call.engine.agent.images.push(f"{call.ref}:{call.query('tag')}" if call.query("tag") else call.ref)
    raise UnsupportedError("pushing an image is not supported by Covey yet; use docker save")


async def distribution(call: RequestContext) -> web.Response:
    """Clients ask for digests before they create a service; they go on with a warning after this."""
    raise UnsupportedError(f"looking up {call.ref} in a registry (GET /distribution) is not supported by Covey yet")


async def _save(call: RequestContext, names: list[str]) -> web.StreamResponse:
    if not names:
        raise InvalidArgumentError("names is missing: say which images to save")
    archive = call.engine.agent.images.save(names)
    async with chunked_response(call, "application/x-tar") as response:
        async for chunk in archive:
            await response.write(chunk)
    return response


async def _body(call: RequestContext) -> AsyncIterator[bytes]:
    async for chunk in call.request.content.iter_chunked(CHUNK_BYTES):
        yield chunk
        await asyncio.sleep(0)


def _architecture(platform: str) -> str:
    """The architecture of ``os/arch[/variant]``."""
    parts = platform.split("/")
    if platform and (parts[0] != "linux" or len(parts) > 2):
        raise UnsupportedError(f"the platform {platform!r} is not supported by Covey yet; use linux/ARCHITECTURE")
    return parts[1] if len(parts) == 2 else ""


def _error(error: CoveyError) -> dict[str, Any]:
    return {"errorDetail": {"message": error.message}, "error": error.message}


def _removed(items: tuple[ImageRemoval, ...]) -> list[dict[str, str]]:
    return [{"Untagged": item.untagged} if item.untagged else {"Deleted": item.deleted} for item in items]


def _publish(call: RequestContext, action: str, image: Image, name: str) -> None:
    attributes = {**image.config.labels, "name": name}
    call.engine.events.publish(event.message("image", action, image.id, attributes, call.engine.clock()))


ROUTES = [
    Route("GET", "/images/json", list_images),
    Route("POST", "/images/create", create),
    Route("POST", "/images/load", load),
    Route("POST", "/images/prune", prune),
    Route("GET", "/images/get", save),
    Route("GET", "/images/{ref*}/json", inspect),
    Route("GET", "/images/{ref*}/history", history),
    Route("GET", "/images/{ref*}/get", save_one),
    Route("POST", "/images/{ref*}/tag", tag),
    Route("POST", "/images/{ref*}/push", push),
    Route("GET", "/distribution/{ref*}/json", distribution),
    Route("DELETE", "/images/{ref*}", remove),
]
