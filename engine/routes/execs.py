"""Routes for ``docker exec``: create, start with an attached stream, resize, inspect."""

from typing import Any

from aiohttp import web

from agent.container.model import ExecConfig, ExecState
from covey import detach_keys
from covey.errors import ConflictError, CoveyError, InvalidArgumentError, NotFoundError
from engine import attach_relay
from engine.caller import user_of
from engine.exec_host import ExecHost, LocalExecs, exec_host
from engine.request_context import RequestContext, empty_response, json_response
from engine.routes.container_streams import terminal_size
from engine.routes.task_location import with_location
from engine.routing import Route
from engine.streams import RAW, STDERR, content_type, frame, hijack
from engine.translate import container as container_json
from engine.translate.json_fields import JsonFields


async def create(context: RequestContext) -> web.Response:
    config = read_config(await context.json())
    try:
        exec_id = await LocalExecs(context.services.agent.containers, context.ref).create(config)
    except NotFoundError as error:
        raise await with_location(error, context) from None
    return json_response({"Id": exec_id}, 201)


async def start(context: RequestContext) -> web.StreamResponse:
    fields = JsonFields(await context.json(optional=True))
    detached, _, size = fields.flag("Detach"), fields.flag("Tty"), _size(fields.raw("ConsoleSize"))
    fields.refuse_unsupported()
    host = _host(context)
    status = await host.status()
    state = status.state
    if status.paused:
        raise ConflictError(f"Container {state.container_id} is paused, unpause the container before exec")
    if not status.running:
        raise ConflictError(f"container {state.container_id} is not running")
    if detached:
        await host.start(detach=True)
        return empty_response()
    return await _start_attached(context, host, state, size if state.config.tty else None)


async def _start_attached(
    context: RequestContext, host: ExecHost, state: ExecState, size: tuple[int, int] | None
) -> web.StreamResponse:
    """Take over the connection before the process starts, as clients expect. If it does not start, the error goes to the stream."""
    config = state.config
    client, response = hijack(context, RAW if config.tty else content_type(context.version, multiplexed=True))
    try:
        stream = await host.start(size=size)
    except CoveyError as error:
        message = f"{error.message}\r\n".encode()
        await client.write(message if config.tty else frame(STDERR, message))
        client.close()
        return response
    except BaseException:
        client.close()
        raise
    if stream is None:  # only a detached exec has none
        client.close()
        return response
    detached = await attach_relay.relay(
        client,
        stream,
        tty=config.tty,
        keys=detach_keys.DetachKeyMatcher(detach_keys.parse(config.detach_keys)),
        stdin=config.attach_stdin,
        stdout=config.attach_stdout,
        stderr=config.attach_stderr,
    )
    if detached:
        host.note_detach(state)
    return response


async def resize(context: RequestContext) -> web.Response:
    height, width = terminal_size(context)
    await _host(context).resize(height, width)
    return empty_response()


async def inspect(context: RequestContext) -> web.Response:
    return json_response(container_json.exec_inspect((await _host(context).status()).state))


def _host(context: RequestContext) -> ExecHost:
    return exec_host(context.services, user_of(context.request), context.ref)


def read_config(body: Any) -> ExecConfig:
    """Read the body of an exec request."""
    fields = JsonFields(body)
    config = ExecConfig(
        args=fields.text_list("Cmd"),
        env=fields.text_list("Env"),
        working_dir=fields.text("WorkingDir"),
        user=fields.text("User"),
        tty=fields.flag("Tty"),
        attach_stdin=fields.flag("AttachStdin"),
        attach_stdout=fields.flag("AttachStdout"),
        attach_stderr=fields.flag("AttachStderr"),
        privileged=fields.flag("Privileged"),
        detach_keys=fields.text("DetachKeys"),
        console_size=_size(fields.raw("ConsoleSize")),
    )
    for name in ("Detach", "Container"):
        fields.raw(name)
    fields.refuse_unsupported()
    if not config.args:
        raise InvalidArgumentError("No exec command specified")
    try:
        detach_keys.parse(config.detach_keys)
    except InvalidArgumentError:
        raise InvalidArgumentError(f"Invalid escape keys ({config.detach_keys}) provided") from None
    return config


def _size(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 2 and all(isinstance(number, int) for number in value):
        return (value[0], value[1]) if all(value) else None
    raise InvalidArgumentError("ConsoleSize must be [height, width]")


ROUTES = [
    Route("POST", "/containers/{ref}/exec", create),
    Route("POST", "/exec/{ref}/start", start),
    Route("POST", "/exec/{ref}/resize", resize),
    Route("GET", "/exec/{ref}/json", inspect),
]
