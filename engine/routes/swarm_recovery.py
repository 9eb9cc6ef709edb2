"""Routes for cluster backup, restore and reconnect.

They are Covey's own, so their paths begin with ``/covey``; no Docker client uses them. Force-new-cluster is part of ``POST /swarm/init``.
"""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from covey.backup_format import MAX_FILE_BYTES
from covey.errors import DeadlineError, InvalidArgumentError, TooLargeError, UnavailableError
from engine.interfaces import LocalNodeState, SwarmRestore
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.streams import STREAMING, common_headers
from engine.translate.json_fields import JsonFields

KEY_HEADER = "Covey-Backup-Key"
_KIND = "application/vnd.covey.backup"
_CHUNK_BYTES = 1 << 18
_SILENCE_SECONDS = 30.0
"""A client that stands still holds up every other change of membership."""
_MEMBER = (
    "this node is part of a swarm, and a backup is restored on a host that is in none: restore it elsewhere, or leave the swarm here first "
    "(covey swarm leave --force)"
)


async def backup(context: RequestContext) -> web.StreamResponse:
    """The file as it is made. A key in the request's header seals it; the answer's header says a key that was made for it, and is absent
    where that one, or the cluster's unlock key, opens it.
    """
    parts = context.engine.cluster.backup(
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
    """The body is the file."""
    if context.engine.node.state is not LocalNodeState.INACTIVE:
        raise UnavailableError(_MEMBER)
    request = SwarmRestore(
        key=context.request.headers.get(KEY_HEADER, ""),
        listen_addr=context.query("listenAddr"),
        advertise_addr=context.query("advertiseAddr"),
    )
    if not request.key:
        raise InvalidArgumentError(f"restoring a backup needs its key, in the header {KEY_HEADER}")
    return json_response(await context.engine.membership.swarm_restore(request, _file(context)))


async def reconnect(context: RequestContext) -> web.Response:
    fields = JsonFields(await context.json())
    addrs = fields.text_list("RemoteAddrs")
    fields.refuse_unknown()
    if not addrs:
        raise InvalidArgumentError("at least 1 RemoteAddr is required: where a manager of this node's cluster is now")
    await context.engine.membership.swarm_reconnect(addrs)
    return empty_response()


async def _file(context: RequestContext) -> AsyncIterator[bytes]:
    size = 0
    while True:
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                chunk = await context.request.content.read(_CHUNK_BYTES)
        except TimeoutError:
            raise DeadlineError(
                f"nothing more came of the backup for {_SILENCE_SECONDS:g} s; nothing was changed, try again"
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
