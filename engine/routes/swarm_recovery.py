"""Routes for cluster backup, restore and reconnect.

They are Covey's own, so their paths begin with ``/covey``; no Docker client uses them. Force-new-cluster is part of ``POST /swarm/init``.
"""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from covey.backup_format import MAX_FILE_BYTES
from covey.errors import DeadlineError, InvalidArgumentError, TooLargeError
from engine.interfaces import SwarmRestore
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.streams import STREAMING, common_headers
from engine.translate.json_fields import JsonFields

KEY_HEADER = "Covey-Backup-Key"
_KIND = "application/vnd.covey.backup"
_CHUNK_BYTES = 1 << 18
_UPLOAD_IDLE_SECONDS = 30.0
"""A client that stalls blocks every other change of membership."""


async def backup(context: RequestContext) -> web.StreamResponse:
    """Stream the backup while it is created. A key in the request's header encrypts it. Without one, the response's header carries a
    generated key, unless the cluster's unlock key opens the backup.
    """
    parts = context.services.cluster.backup(
        own_key=context.flag("ownKey"), key=context.request.headers.get(KEY_HEADER, "")
    )
    key = await anext(parts)
    headers = {"Content-Type": _KIND, **({KEY_HEADER: key.decode()} if key else {}), **common_headers()}
    response = web.StreamResponse(headers=headers)
    context.request[STREAMING] = True
    await response.prepare(context.request)
    async for part in parts:
        await response.write(part)
    await response.write_eof()
    return response


async def restore(context: RequestContext) -> web.Response:
    """Restore the backup in the request's body."""
    request = SwarmRestore(
        key=context.request.headers.get(KEY_HEADER, ""),
        listen_addr=context.query("listenAddr"),
        advertise_addr=context.query("advertiseAddr"),
    )
    if not request.key:
        raise InvalidArgumentError(f"restoring a backup needs its key, in the header {KEY_HEADER}")
    return json_response(await context.services.membership.swarm_restore(request, _upload(context)))


async def reconnect(context: RequestContext) -> web.Response:
    fields = JsonFields(await context.json())
    addrs = fields.text_list("RemoteAddrs")
    fields.refuse_unsupported()
    if not addrs:
        raise InvalidArgumentError("at least 1 RemoteAddr is required: the address of a manager of this node's cluster")
    await context.services.membership.swarm_reconnect(addrs)
    return empty_response()


async def _upload(context: RequestContext) -> AsyncIterator[bytes]:
    size = 0
    while True:
        try:
            async with asyncio.timeout(_UPLOAD_IDLE_SECONDS):
                chunk = await context.request.content.read(_CHUNK_BYTES)
        except TimeoutError:
            raise DeadlineError(
                f"the upload of the backup stalled for {_UPLOAD_IDLE_SECONDS:g} s. No changes were made; try again"
            ) from None
        if not chunk:
            return
        size += len(chunk)
        if size > MAX_FILE_BYTES:
            raise TooLargeError(f"the backup is larger than {MAX_FILE_BYTES} bytes")
        yield chunk


ROUTES = [
    Route("GET", "/covey/swarm/backup", backup),
    Route("POST", "/covey/swarm/restore", restore),
    Route("POST", "/covey/swarm/reconnect", reconnect),
]
