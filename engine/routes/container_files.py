"""Routes for the files of a container: ``docker cp`` (archive), export, and the changes against its image."""

import base64
from collections.abc import AsyncIterator

import msgspec
from aiohttp import web

from agent.filesystem.protocol import PathStat
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.streams import chunked_response
from engine.translate.times import rfc3339

STAT_HEADER = "X-Docker-Container-Path-Stat"
TAR = "application/x-tar"


async def stat(context: RequestContext) -> web.Response:
    found = await context.services.agent.containers.stat_path(context.ref, context.query("path"))
    response = empty_response()
    response.headers[STAT_HEADER] = _encode(found)
    return response


async def read(context: RequestContext) -> web.StreamResponse:
    async with context.services.agent.containers.read_path(context.ref, context.query("path")) as (found, archive):
        return await _send(context, TAR, archive, {STAT_HEADER: _encode(found)})


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
    async with context.services.agent.containers.export(context.ref) as archive:
        return await _send(context, "application/octet-stream", archive, {})


async def changes(context: RequestContext) -> web.Response:
    found = await context.services.agent.containers.changes(context.ref)
    return json_response([{"Path": item.path, "Kind": item.kind} for item in found] or None)


async def _send(
    context: RequestContext, kind: str, archive: AsyncIterator[bytes], headers: dict[str, str]
) -> web.StreamResponse:
    async with chunked_response(context, kind, headers) as response:
        async for chunk in archive:
            await response.write(chunk)
    return response


def _encode(found: PathStat) -> str:
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
