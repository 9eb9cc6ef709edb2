"""HTTP application of the Engine API: finds the handler of a request and turns errors into responses.

Invariant: an unknown path or method is 404, as in Docker, an unsupported feature 501, each with ``{"message": …}``.
Built by ``node.coveyd``.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from covey.clock import Clock, wall_clock
from covey.engine_settings import LiveSettings
from covey.errors import CoveyError
from engine.caller import set_user
from engine.control_client import ControlClient
from engine.errors import NotModifiedError, http_status
from engine.events import EventLog
from engine.host_info import HostInfo, read_host
from engine.host_programs import ProgramVersion
from engine.interfaces import AgentInterface, NodeControl
from engine.request_context import EngineServices, RequestContext, json_response
from engine.routes import TABLE
from engine.routing import split_version
from engine.streams import STREAMING, abort_stream, common_headers
from engine.translate import event

log = logging.getLogger(__name__)

SERVICES: web.AppKey[EngineServices] = web.AppKey("services", EngineServices)


def build_app(
    agent: AgentInterface,
    node: NodeControl,
    cluster: ControlClient,
    *,
    host: HostInfo | None = None,
    settings: LiveSettings | None = None,
    programs: Mapping[str, ProgramVersion] = {},
    clock: Clock = wall_clock,
) -> web.Application:
    """The API of one daemon. ``engine.server.serving`` runs it and feeds its event log."""
    services = EngineServices(
        agent=agent,
        node=node.info,
        membership=node,
        control=cluster,
        events=EventLog(Path(node.info.state_dir) / "events"),
        host=host or read_host(),
        settings=settings or LiveSettings(),
        programs=programs,
        clock=clock,
    )
    app = web.Application(client_max_size=0)
    app[SERVICES] = services
    app.router.add_route("*", r"/{tail:[\s\S]*}", _dispatch)
    app.on_response_prepare.append(_add_headers)
    return app


def publish_daemon_event(app: web.Application, action: str, engine_id: str, attributes: dict[str, str]) -> None:
    """Publish an event of the daemon itself."""
    services = app[SERVICES]
    services.events.publish(event.message("daemon", action, engine_id, attributes, services.clock()))


async def _dispatch(request: web.Request) -> web.StreamResponse:
    services = request.app[SERVICES]
    set_user(request)
    try:
        return await _answer(request, services)
    except CoveyError as error:
        return _error_response(request, http_status(error), error.message, error)
    except web.HTTPException:
        raise
    except TimeoutError as error:
        return _error_response(
            request, 504, "the operation did not finish in time; check the object's state before retrying", error
        )
    except Exception as error:  # an unexpected error of a handler must not end the daemon
        if isinstance(error, ConnectionError) and _client_is_gone(request):
            return abort_stream(request)
        log.exception("%s %s failed", request.method, request.path)
        return _error_response(request, 500, f"internal error: {type(error).__name__}: {error}", error)


def _client_is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


async def _answer(request: web.Request, services: EngineServices) -> web.StreamResponse:
    version, path = split_version(request.path)
    match = TABLE.find(request.method, path)
    if match is None:
        return json_response({"message": "page not found"}, 404)
    response: web.StreamResponse = await match.handler(RequestContext(request, services, match.parameters, version))
    return response


def _error_response(request: web.Request, status: int, message: str, error: Exception) -> web.StreamResponse:
    """An error as JSON. If the response has already started, its connection is aborted, so that the client sees it is incomplete."""
    if request.get(STREAMING):
        log.warning("%s %s was aborted: %s", request.method, request.path, message)
        return abort_stream(request)
    if isinstance(error, NotModifiedError):
        return web.Response(status=304)
    return json_response({"message": message}, status)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    del request
    for name, value in common_headers().items():
        response.headers[name] = value
