"""Routes for tasks, and for the logs of tasks and services."""

from aiohttp import web

from covey.display_name import display_name
from covey.errors import CoveyError
from covey.objects import Network, Task
from coveypb.v1 import control_pb2, dispatcher_pb2
from engine.control_client import ControlClient
from engine.request_context import RequestContext, json_response
from engine.routing import Route
from engine.streams import STDERR, STDOUT, SYSTEM_ERROR, chunked_response, content_type, frame
from engine.translate import filters, logs
from engine.translate import task as task_json

FILTERS = ("_up-to-date", "desired-state", "id", "label", "name", "node", "runtime", "service")


async def list_tasks(context: RequestContext) -> web.Response:
    cluster, active_filters = context.services.cluster, context.filters(*FILTERS)
    states = filters.desired_states(active_filters)
    services = [(await cluster.service(ref)).id for ref in active_filters.get("service", ())]
    nodes = [await _node_id(context, ref) for ref in active_filters.get("node", ())]
    tasks = await cluster.tasks(service_ids=services, node_ids=nodes, desired_states=states)
    tasks = [task for task in tasks if filters.match_task(active_filters, task, display_name(task))]
    if filters.filter_flag(active_filters, "_up-to-date"):
        versions = {service.id: service.spec_version for service, _ in await cluster.services()}
        tasks = [task for task in tasks if task.spec_version == versions.get(task.service_id)]
    if "runtime" in active_filters and "container" not in active_filters["runtime"]:
        tasks = []
    networks = await _networks(cluster, tasks)
    return json_response([task_json.write(task, networks) for task in tasks])


async def inspect(context: RequestContext) -> web.Response:
    cluster = context.services.cluster
    task = await cluster.task(context.ref)
    return json_response(task_json.write(task, await _networks(cluster, [task])))


async def service_logs(context: RequestContext) -> web.StreamResponse:
    service = await context.services.cluster.service(context.ref)
    request = control_pb2.LogsRequest(service_refs=[service.id])
    return await _logs(context, request, tty=service.spec.task.container.tty)


async def task_logs(context: RequestContext) -> web.StreamResponse:
    task = await context.services.cluster.task(context.ref)
    request = control_pb2.LogsRequest(task_refs=[task.id])
    return await _logs(context, request, tty=task.spec.container.tty)


async def _logs(context: RequestContext, request: control_pb2.LogsRequest, *, tty: bool) -> web.StreamResponse:
    """Send one frame per line, because clients read the task from the head of each frame. What is missing is reported last, because
    clients stop at an error frame.
    """
    options = logs.read_log_query(context.request.query, context.services.clock())
    request.options.stdout, request.options.stderr = options.stdout, options.stderr
    request.options.follow = options.follow
    request.options.tail = -1 if options.tail is None else options.tail
    request.options.since_ns, request.options.until_ns = options.since_ns, options.until_ns
    missing: list[str] = []
    cluster = context.services.cluster
    async with chunked_response(context, content_type(context.version, multiplexed=not tty)) as response:
        try:
            async for line in cluster.logs(request):
                if line.stream == SYSTEM_ERROR and not (options.follow and line.service_id):
                    missing.append(line.data.decode(errors="replace"))
                    continue
                text = _text(line, options)
                await response.write(text if tty else frame(STDOUT if line.stream == STDOUT else STDERR, text))
        except CoveyError as error:
            missing.append(error.message)
        if missing:
            message = f"these logs are incomplete: {'; '.join(missing)}".encode()
            await response.write(message + b"\n" if tty else frame(SYSTEM_ERROR, message))
    return response


def _text(line: dispatcher_pb2.LogLine, options: logs.LogQuery) -> bytes:
    """A line as clients print it. While following, an error is sent as an ordinary line, because an error frame would end the client."""
    data = line.data + b"\n" if line.stream == SYSTEM_ERROR else line.data
    details = logs.task_details(line.node_id, line.service_id, line.task_id) if options.details else ""
    return logs.log_line(data, line.timestamp_ns if options.timestamps else None, details)


async def _node_id(context: RequestContext, ref: str) -> str:
    if ref == "self":
        return context.services.node.node_id
    return (await context.services.cluster.node(ref)).id


async def _networks(cluster: ControlClient, tasks: list[Task]) -> dict[str, Network]:
    if not any(task.networks for task in tasks):
        return {}
    return {network.id: network for network in await cluster.networks()}


ROUTES = [
    Route("GET", "/tasks", list_tasks),
    Route("GET", "/tasks/{ref}", inspect),
    Route("GET", "/tasks/{ref}/logs", task_logs),
    Route("GET", "/services/{ref}/logs", service_logs),
]
