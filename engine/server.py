"""HTTP server of the Engine API on its listening sockets, with TLS on those that are not local.

Invariant: a connection that is not local is encrypted whenever the daemon has a certificate.
"""

import asyncio
import contextlib
import functools
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from agent.local_network.model import predefined_id
from covey.task_group import TaskGroup
from engine.app import SERVICES
from engine.events import publish_container_events, publish_network_events, publish_volume_events
from engine.listen_address import ListenAddress, UnixAddress
from engine.listeners import BACKLOG, Listener, listening
from engine.tls_transport import TlsConnection

CLOSE_SECONDS = 2.0
READ_BUFFER_BYTES = 1 << 20
"""How much of an upload may wait for its reader, per connection. More means fewer switches between the two."""


@asynccontextmanager
async def serving(app: web.Application, path: Path) -> AsyncIterator[None]:
    """Serve the API on one Unix socket; see ``serving_at``."""
    async with serving_at(app, [UnixAddress(path)]):
        yield


@asynccontextmanager
async def serving_at(
    app: web.Application,
    addresses: Sequence[ListenAddress],
    tls: ssl.SSLContext | None = None,
    environment: Mapping[str, str] = {},
    *,
    allows_tcp: bool = True,
) -> AsyncIterator[list[Listener]]:
    """Serve the API at all addresses and feed its event log until the end of the block. Without ``tls`` TCP is not encrypted. Unless
    ``allows_tcp``, an inherited TCP socket is refused.

    Raises:
        AlreadyExistsError: another daemon serves there. UnavailableError: an address cannot be used.
    """
    services = app[SERVICES]
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=CLOSE_SECONDS,
        handler_cancellation=True,
        read_bufsize=READ_BUFFER_BYTES,
    )
    await runner.setup()
    try:
        with listening(addresses, environment, allows_tcp=allows_tcp) as listeners:
            async with contextlib.AsyncExitStack() as stack:
                for listener in listeners:
                    await stack.enter_async_context(_accepting(runner, listener, None if listener.is_local else tls))
                async with TaskGroup() as group:
                    network_id = functools.partial(predefined_id, engine_id=services.node.engine_id)
                    events, agent = services.events, services.agent
                    workers = (
                        group.create_task(publish_container_events(events, agent.containers, network_id)),
                        group.create_task(publish_volume_events(events, agent.volumes)),
                        group.create_task(publish_network_events(events, agent.endpoints.local.networks)),
                        group.create_task(events.keep_history()),
                    )
                    try:
                        yield listeners
                    finally:
                        for worker in workers:
                            worker.cancel()
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _accepting(runner: web.AppRunner, listener: Listener, tls: ssl.SSLContext | None) -> AsyncIterator[None]:
    """Accept connections until the end of the block. Open connections are closed by the runner."""
    http = runner.server
    assert http is not None  # noqa: S101 - the runner is set up
    loop = asyncio.get_running_loop()
    if tls is None:
        server = (
            await loop.create_server(http, sock=listener.socket, backlog=BACKLOG)
            if not listener.is_local
            else (await loop.create_unix_server(http, sock=listener.socket, backlog=BACKLOG))
        )
    else:
        context = tls
        server = await loop.create_server(lambda: TlsConnection(context, http), sock=listener.socket, backlog=BACKLOG)
    try:
        yield
    finally:
        server.close()
