"""Debug endpoints: the daemon's figures and what its tasks and threads do now. 404 unless the daemon runs with ``--debug``.

Invariant: they answer on the local socket only, because stacks and names tell more than a remote client should know.
"""

import asyncio
import gc
import io
import resource
import socket
import sys
import threading
import traceback

from aiohttp import web

from covey.errors import NotFoundError
from engine.request_context import RequestContext, json_response
from engine.routing import Route

MAX_TASKS = 1000


async def variables(context: RequestContext) -> web.Response:
    """Figures of the process, as ``/debug/vars`` of Docker has them in its own terms."""
    _require_debug(context)
    usage, services = resource.getrusage(resource.RUSAGE_SELF), context.services
    return json_response(
        {
            "cmdline": sys.argv,
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "events": {"readers": services.events.readers},
            "memory": {"max_rss_bytes": usage.ru_maxrss * 1024, "gc": gc.get_stats()},
            "cpu_seconds": {"user": usage.ru_utime, "system": usage.ru_stime},
        }
    )


async def tasks(context: RequestContext) -> web.Response:
    """The stack of every asyncio task, as text."""
    _require_debug(context)
    text = io.StringIO()
    for task in sorted(asyncio.all_tasks(), key=lambda item: item.get_name())[:MAX_TASKS]:
        text.write(f"{task.get_name()}: {task.get_coro()}\n")
        task.print_stack(file=text)
        text.write("\n")
    return web.Response(text=text.getvalue())


async def threads(context: RequestContext) -> web.Response:
    """The stack of every thread, as text."""
    _require_debug(context)
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [
        f"{names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    ]
    return web.Response(text="\n".join(parts))


def _require_debug(context: RequestContext) -> None:
    """Raises NotFoundError, as for a path that does not exist."""
    transport = context.request.transport
    link = transport.get_extra_info("socket") if transport is not None else None
    is_local = link is not None and link.family == socket.AF_UNIX
    if not (context.services.settings.current.debug and is_local):
        raise NotFoundError("page not found")


ROUTES = [
    Route("GET", "/debug/vars", variables),
    Route("GET", "/debug/tasks", tasks),
    Route("GET", "/debug/threads", threads),
]
