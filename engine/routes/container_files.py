"""Routes for the files of a container: ``docker cp`` (archive), export, and the changes against its image."""

import base64

import msgspec
from aiohttp import web

from agent.container.api import FileArchive
from agent.filesystem.protocol import PathStat
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.streams import chunked_response, lent_socket, send_by_other_process
from engine.translate.times import rfc3339

STAT_HEADER = "X-Docker-Container-Path-Stat"
TAR = "application/x-tar"


async def stat(context: RequestContext) -> web.Response:
    found = await context.services.agent.containers.stat_path(context.ref, context.query("path"))
    response = empty_response()
    response.headers[STAT_HEADER] = encode_stat(found)
    return response


async def read(context: RequestContext) -> web.StreamResponse:
    containers, socket_fd = context.services.agent.containers, lent_socket(context)
    async with containers.read_path(context.ref, context.query("path"), socket_fd=socket_fd) as (found, archive):
        return await _send(context, TAR, archive, {STAT_HEADER: encode_stat(found)})


async def write(context: RequestContext) -> web.Response:
    await context.services.agent.containers.write_path(
        context.ref,
        context.query("path"),
        context.request.content.iter_any(),
        keep_kinds=context.flag("noOverwriteDirNonDir"),
        as_user=context.flag("copyUIDGID"),
    )
    return empty_response()


async def export(context: RequestContext) -> web.StreamResponse:
    async with context.services.agent.containers.export(context.ref, socket_fd=lent_socket(context)) as archive:
        return await _send(context, "application/octet-stream", archive, {})


async def changes(context: RequestContext) -> web.Response:
    found = await context.services.agent.containers.changes(context.ref)
    return json_response([{"Path": item.path, "Kind": item.kind} for item in found] or None)


async def _send(
    context: RequestContext, kind: str, archive: FileArchive, headers: dict[str, str]
) -> web.StreamResponse:
    """Send a tar: through this process, or by the process that reads the files, if it can have the socket."""
    if lent_socket(context) >= 0:
        return await send_by_other_process(context, kind, headers, archive.send_to_socket)
    async with chunked_response(context, kind, headers) as response:
        async for chunk in archive.chunks():
            await response.write(chunk)
    return response


def encode_stat(found: PathStat) -> str:
    """What is at a path, as the header of an archive says it."""
    document = {
        "name": found.name,
        "size": found.size,
        "mode": found.mode,
        "mtime": rfc3339(found.mtime_ns),
        "linkTarget": found.link_target,
    }
    return base64.b64encode(msgspec.json.encode(document)).decode()


ROUTES = [
    Route("HEAD", "/containers/{ref}/archive", stat),
    Route("GET", "/containers/{ref}/archive", read),
    Route("PUT", "/containers/{ref}/archive", write),
    Route("GET", "/containers/{ref}/export", export),
    Route("GET", "/containers/{ref}/changes", changes),
]
