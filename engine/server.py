"""HTTP server of the Engine API on a Unix socket, with mode 0660 and group ``covey`` where that group exists.

Invariant: a socket on which another daemon answers is never taken over; a stale socket of a daemon that crashed is removed.
"""

import asyncio
import grp
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from covey.errors import AlreadyExistsError
from engine.app import SERVICES
from engine.events import publish_container_events

log = logging.getLogger(__name__)

GROUP = "covey"
MODE = 0o660
BACKLOG = 128
CLOSE_SECONDS = 2.0


@asynccontextmanager
async def serving(app: web.Application, path: Path) -> AsyncIterator[None]:
    """Serve the API at ``path`` and feed its event log until the end of the block.

    Raises:
        AlreadyExistsError: another daemon serves at this path.
    """
    services = app[SERVICES]
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_SECONDS, handler_cancellation=True)
    await runner.setup()
    try:
        listener = bind(path)
        try:
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
            async with asyncio.TaskGroup() as group:
                publisher = group.create_task(publish_container_events(services.events, services.agent.containers))
                try:
                    yield
                finally:
                    publisher.cancel()
        finally:
            path.unlink(missing_ok=True)
    finally:
        await runner.cleanup()


def bind(path: Path) -> socket.socket:
    """A listening socket at ``path``. Nobody else can open it before its mode is set."""
    remove_stale(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        group = _group_id()
        if group is not None and os.geteuid() == 0:
            os.chown(path, 0, group)
        path.chmod(MODE)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def remove_stale(path: Path) -> None:
    """Remove a stale socket. AlreadyExistsError if a daemon answers on it, or if it is not a socket."""
    if not path.exists():
        return
    if not path.is_socket():
        raise AlreadyExistsError(
            f"cannot create the Engine API's socket: {path} exists and is not a socket; move it away"
        )
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            log.info("removed the stale socket %s of a daemon that crashed", path)
            return
        except TimeoutError:
            pass
    raise AlreadyExistsError(f"another daemon serves the Engine API at {path}; stop it first or use another --host")


def _group_id() -> int | None:
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None
