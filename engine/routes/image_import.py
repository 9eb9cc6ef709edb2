"""Route that imports an image from a root file system's archive: the request's body, or what a URL leads to."""

from collections.abc import AsyncIterator

from aiohttp import web

from agent.image.model import Progress
from covey import image_reference
from covey.errors import UnsupportedError
from engine.progress_response import ProgressResponse, progress_response
from engine.request_context import RequestContext
from engine.routes.images import CHUNK_BYTES, archive_body, publish_image
from engine.translate import progress as progress_json


async def import_image(context: RequestContext) -> web.StreamResponse:
    """Import an image. ``docker pull`` has the same path; see ``registries.create``."""
    name = context.query("repo")
    name = f"{name}:{context.query('tag')}" if name and context.query("tag") else name
    if name:
        image_reference.parse_tagged(name)
    async with progress_response(context) as response:
        if context.query("fromSrc") == "-":
            await _import(context, response, archive_body(context), name, "Imported from -")
        else:
            await _import_from_url(context, response, name)
    return response.stream


async def _import_from_url(context: RequestContext, response: ProgressResponse, name: str) -> None:
    async with context.services.agent.registries.download(context.query("fromSrc")) as download:
        await response.write({"status": f"Downloading from {download.url}"})
        source = _counted(download.chunks, download.size, response)
        await _import(context, response, source, name, f"Imported from {download.url}")


async def _import(
    context: RequestContext, response: ProgressResponse, source: AsyncIterator[bytes], name: str, comment: str
) -> None:
    images = context.services.agent.images
    image_id = await images.import_(
        source,
        name,
        message=context.query("message") or comment,
        changes=context.request.query.getall("changes", []),
        architecture=_architecture(context.query("platform")),
    )
    await response.write({"status": image_id})
    publish_image(context, "import", images.get(image_id), name or image_id)


async def _counted(chunks: AsyncIterator[bytes], size: int, response: ProgressResponse) -> AsyncIterator[bytes]:
    """The chunks, with the progress of the download each ``CHUNK_BYTES`` and at its end."""
    count, reported = 0, -CHUNK_BYTES
    async for chunk in chunks:
        count += len(chunk)
        if count - reported >= CHUNK_BYTES or count == size:
            reported = count
            await response.write(progress_json.message(Progress("Importing", current=count, total=size)))
        yield chunk


def _architecture(platform: str) -> str:
    """The architecture of ``os/arch[/variant]``."""
    parts = platform.split("/")
    if platform and (parts[0] != "linux" or len(parts) > 2):
        raise UnsupportedError(f"the platform {platform!r} is not supported by Covey yet; use linux/ARCHITECTURE")
    return parts[1] if len(parts) == 2 else ""
